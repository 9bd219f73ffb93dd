package scim

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stetl/stetl/core/sdk"
)

// A token that is refused while many requests are on their way is renewed once.
func TestClientCredentials(t *testing.T) {
	t.Parallel()
	var issued, expired atomic.Int32
	var f *fake
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		if r.UserAgent() != "stetl/test" {
			t.Errorf("a token is asked for by %q", r.UserAgent())
		}
		if id != "client" || secret != "client-secret" || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "scim users" || r.FormValue("audience") != "directory" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"invalid_client","error_description":"client-secret is wrong"}`))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": fmt.Sprintf("token-%d", issued.Add(1)), "token_type": "Bearer", "expires_in": 3600})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		current := "Bearer token-1"
		if expired.Load() > 0 {
			current = "Bearer token-2"
		}
		if r.Header.Get("Authorization") != current {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.Method == http.MethodPost {
			expired.Store(1) // the next request is refused
		}
		r.Header.Set("Authorization", "Bearer "+fakeToken)
		f.ServeHTTP(w, r)
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	f = newFake(t, profile{})
	config := Config{URL: s.URL + "/scim/v2", Auth: Auth{
		Type: "oauth2", TokenURL: s.URL + "/token", ClientID: "client", ClientSecret: sdk.NewSecret("client-secret"), Scope: "scim users", Audience: "directory",
	}}
	b := load(t, openLive(t, config, nil), people(1, 30))
	if b.Counts()[sdk.Created] != 30 || len(f.users) != 30 || issued.Load() != 2 {
		t.Errorf("%v, %d tokens were issued", b.Counts(), issued.Load())
	}

	config.Auth.ClientID = "other"
	target, err := newLive(config.withDefaults(), sdk.Env{Log: slog.New(slog.DiscardHandler), UserAgent: "stetl/test"})
	if err != nil {
		t.Fatal(err)
	}
	list := target.Check(t.Context(), sdk.Needs{})
	if len(list) != 1 || list[0].Code != codeLoginRefused || strings.Contains(list[0].Detail, "client-secret") {
		t.Errorf("a wrong client: %+v", list)
	}
}

func TestBasicAndHeaders(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user != "admin" || password != "p:ss" || r.Header.Get("X-Api-Key") != "gateway" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`{"totalResults":0}`))
	}))
	s.StartTLS()
	defer s.Close()
	config := Config{
		URL: s.URL, Auth: Auth{Type: "basic", Username: "admin", Password: sdk.NewSecret("p:ss")},
		Headers: map[string]sdk.Secret{"X-Api-Key": sdk.NewSecret("gateway")},
	}.withDefaults()
	check := func() sdk.Diagnostics {
		target, err := newLive(config, sdk.Env{Log: slog.New(slog.DiscardHandler), UserAgent: "stetl/test"})
		if err != nil {
			t.Fatal(err)
		}
		target.api.wait = backOffNot
		return target.Check(context.Background(), sdk.Needs{})
	}
	if list := check(); len(list) != 1 || list[0].Code != codeUntrusted {
		t.Errorf("an unknown authority: %+v", list)
	}
	config.TLS.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(config.TLS.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if list := check(); list.HasErrors() {
		t.Errorf("%+v", list)
	}
	config.TLS.CertFile = config.TLS.CAFile
	if err := config.validate().Err(); err == nil || !strings.Contains(err.Error(), "key_file") {
		t.Errorf("a certificate without a key: %v", err)
	}
}

// 53: SCIM 1.1 is recognised, and refused by its name.
func TestOldVersion(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/ServiceProviderConfigs") {
			_, _ = w.Write([]byte(`{"schemas":["urn:scim:schemas:core:1.0"],"patch":{"supported":true}}`))
			return
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"Errors":[{"description":"no such thing","code":"404"}]}`))
	}))
	defer s.Close()
	target, err := newLive(Config{URL: s.URL, Auth: Auth{Token: sdk.NewSecret("token")}}.withDefaults(), sdk.Env{UserAgent: "stetl/test"})
	if err != nil {
		t.Fatal(err)
	}
	if list := target.Check(t.Context(), sdk.Needs{}); len(list) != 1 || list[0].Code != codeNotSCIM || !strings.Contains(list[0].Summary, "1.1") {
		t.Errorf("%+v", list)
	}
}
