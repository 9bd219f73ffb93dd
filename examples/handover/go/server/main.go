// Command server is an application whose visitors come over: a page, a sign-in at the new
// system (OpenID Connect with PKCE), and an API. What is about the bridge is in the package
// handover and in the page.
package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	handover "github.com/stetl/stetl/examples/handover/go"
)

// app is the application. Its methods may be called concurrently.
type app struct {
	base, target, clientID string
	bridge                 *handover.Client
	users                  sync.Map // who is signed in, by the cookie of this application
}

func main() {
	a := &app{
		base: "http://" + os.Getenv("LISTEN"), target: os.Getenv("TARGET"), clientID: os.Getenv("CLIENT_ID"),
		bridge: &handover.Client{Issuer: os.Getenv("ISSUER")},
	}
	browser := os.Getenv("BROWSER_FILES") // the folder browser beside this one
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServer(http.Dir(browser)))
	mux.HandleFunc("GET /me", a.me)
	mux.HandleFunc("GET /login", a.login)
	mux.HandleFunc("GET /callback", a.callback)
	mux.HandleFunc("POST /clear", func(w http.ResponseWriter, _ *http.Request) {
		handover.End(w, "", "/auth/session/refresh")
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /switch", a.switchOver)
	server := &http.Server{Addr: os.Getenv("LISTEN"), Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	log.SetFlags(0)
	log.Println("listening")
	log.Fatal(server.ListenAndServe())
}

func (a *app) me(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie("app"); err == nil {
		if user, ok := a.users.Load(c.Value); ok {
			answer(w, http.StatusOK, map[string]any{"user": user})
			return
		}
	}
	answer(w, http.StatusUnauthorized, map[string]any{"user": nil})
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	state, verifier := rand.Text(), rand.Text()+rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	ask := url.Values{
		"client_id": {a.clientID}, "redirect_uri": {a.base + "/callback"}, "response_type": {"code"}, "scope": {"openid"}, "state": {state},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	for _, name := range []string{"kc_idp_hint", "prompt"} {
		if value := r.URL.Query().Get(name); value != "" {
			ask.Set(name, value)
		}
	}
	a.cookie(w, "login-"+state, verifier, "/callback")
	http.Redirect(w, r, a.target+"/protocol/openid-connect/auth?"+ask.Encode(), http.StatusFound)
}

func (a *app) callback(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	problem := q.Get("error")
	verifier, err := r.Cookie("login-" + q.Get("state"))
	if problem == "" && err != nil {
		problem = "invalid_request"
	}
	user := ""
	if problem == "" {
		if user, err = a.user(r, q.Get("code"), verifier.Value); err != nil {
			log.Print(err)
			problem = "server_error"
		}
	}
	if problem != "" {
		http.Redirect(w, r, "/?"+url.Values{"error": {problem}}.Encode(), http.StatusFound)
		return
	}
	session := rand.Text()
	a.users.Store(session, user)
	a.cookie(w, "app", session, "/")
	http.Redirect(w, r, "/", http.StatusFound)
}

// cookie sets one that scripts do not see.
func (a *app) cookie(w http.ResponseWriter, name, value, path string) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: path, HttpOnly: true, Secure: strings.HasPrefix(a.base, "https:"), SameSite: http.SameSiteLaxMode}) //nolint:gosec // Secure, but for tests without TLS
}

// user redeems a code of the new system.
func (a *app) user(r *http.Request, code, verifier string) (string, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {a.base + "/callback"}, "client_id": {a.clientID}, "code_verifier": {verifier}}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, a.target+"/protocol/openid-connect/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	var tokens handover.Tokens
	if err := json.NewDecoder(resp.Body).Decode(&tokens); err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the new system gives no tokens: %d, %w", resp.StatusCode, err)
	}
	return subject(tokens.AccessToken)
}

// subject reads a token that came straight from the new system.
func subject(token string) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errors.New("the new system gives no JWT")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Sub string `json:"sub"`
	}
	if err == nil {
		err = json.Unmarshal(raw, &claims)
	}
	return claims.Sub, err
}

// switchOver is for clients that are no browser and bring their old token along.
func (a *app) switchOver(w http.ResponseWriter, r *http.Request) {
	tokens, err := a.bridge.Handover(r.Context(), handover.TokenOf(r))
	switch {
	case err == nil:
		handover.End(w, "", "/auth/session/refresh")
		answer(w, http.StatusOK, tokens)
	case errors.Is(err, handover.ErrNoSession):
		answer(w, http.StatusUnauthorized, map[string]string{"reason": "no_session"})
	case errors.Is(err, handover.ErrNotLoaded):
		answer(w, http.StatusForbidden, map[string]string{"reason": "not_loaded"})
	default:
		log.Print(err)
		answer(w, http.StatusServiceUnavailable, map[string]string{"reason": "later"})
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
