package auth0

import (
	"errors"
	"net/http"
	"strings"

	"golang.org/x/oauth2"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

func (c Config) access() tenant.Access {
	return tenant.Access{Domain: c.Domain, APIURL: c.APIURL, Audience: c.Audience, ClientID: c.ClientID, ClientSecret: c.ClientSecret}
}

// network is the transport of a configuration.
func network(c Config) (*http.Transport, error) {
	trust, err := c.TLS.Load("/tls")
	return httpx.NewBase(httpx.Options{TLS: trust, Timeout: c.Timeout.Duration}), err
}

// explain adds to an error what the operator can do about it.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if login, ok := errors.AsType[*httpx.LoginError](err); ok {
		return sdk.Diagnostics{loginProblem(login)}.Err()
	}
	if s := tenant.Status(err); s == http.StatusForbidden || s == http.StatusUnauthorized {
		return sdk.Diagnostics{{
			Code: codeScopeMissing, Path: "/client_id", Summary: "the application lacks a right that a load needs", Detail: err.Error(),
			Hint: "grant the scope that the message names to the machine-to-machine application",
		}}.Err()
	}
	return err
}

func loginProblem(e *httpx.LoginError) sdk.Diagnostic {
	d := sdk.Diagnostic{Code: codeUnreachable, Path: "/domain", Summary: "the tenant cannot be reached", Detail: e.Err.Error(), Hint: "check domain, network and certificate"}
	if !e.Refused() {
		return d
	}
	d.Code, d.Path, d.Summary = codeLoginRefused, "/client_id", "the tenant refuses the application"
	d.Hint = "check client_id, client_secret and audience, and that the application is authorised for the Management API"
	d.Detail = ""
	if answer, ok := errors.AsType[*oauth2.RetrieveError](e.Err); ok {
		d.Detail = strings.TrimSpace(answer.ErrorCode + ": " + answer.ErrorDescription)
	}
	return d
}
