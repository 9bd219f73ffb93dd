package bridge

import (
	"context"
	"errors"
	"html/template"
	"log/slog"
	"net/http"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens/cutover"
)

// page is what people behind a link see.
type page struct {
	Title, Text, Problem string
	Action, Parameter    string
	Token                string
	Password             bool // ask for one
	Button               string
	Continue             string
}

var pages = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Title}}</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:26rem;margin:4rem auto;padding:0 1rem}label,input,button{display:block;width:100%;box-sizing:border-box;font:inherit;margin:.4rem 0}.problem{color:#b00020}</style></head>
<body><h1>{{.Title}}</h1>{{with .Problem}}<p class="problem" id="problem" role="alert">{{.}}</p>{{end}}{{with .Text}}<p id="text">{{.}}</p>{{end}}
{{if .Button}}<form method="post" action="{{.Action}}"><input type="hidden" name="{{.Parameter}}" value="{{.Token}}">
{{if .Password}}<label for="password">New password</label><input id="password" name="password" type="password" autocomplete="new-password" required>
<label for="again">Again</label><input id="again" name="again" type="password" autocomplete="new-password" required>{{end}}
<button id="go">{{.Button}}</button></form>{{end}}
{{with .Continue}}<p><a id="continue" href="{{.}}">Continue</a></p>{{end}}</body></html>
`))

func (s *Server) show(w http.ResponseWriter, r *http.Request, status int, p page) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	w.WriteHeader(status)
	if err := pages.Execute(w, p); err != nil {
		s.o.Log.DebugContext(r.Context(), "a page was not sent", slog.String("error", err.Error()))
	}
}

const (
	titleReset  = "Set a new password"
	titleVerify = "Confirm your e-mail address"
)

// dead answers a link that does not work, whatever the reason.
func (s *Server) dead(w http.ResponseWriter, r *http.Request, title string, c config.BridgeLink) {
	s.show(w, r, http.StatusGone, page{Title: title, Problem: "This link does not work, or not any more. Please ask for a new one.", Continue: c.Continue})
}

// noLink counts a token that stands for nothing as a guess. One that did is none:
// people of one office, and their mail scanner, follow many old links.
func (s *Server) noLink(r *http.Request, surface string, err error) {
	if !errors.Is(err, cutover.ErrOldLink) {
		s.guard.failed(r, surface, s.guard.client(r))
	}
	s.audit.event(r, surface, outcomeRefused, "", reason("the link does not work"))
}

// resetPage shows a form and changes nothing: mail scanners open links, too.
func (s *Server) resetPage(w http.ResponseWriter, r *http.Request) {
	c := s.config.Reset
	token := r.URL.Query().Get(c.Parameter)
	switch err := s.o.DB.PeekReset(r.Context(), token); {
	case errors.Is(err, cutover.ErrNoLink):
		s.noLink(r, surfaceReset, err)
		s.dead(w, r, titleReset, c)
	case err != nil:
		s.broken(w, r, err)
	default:
		s.show(w, r, http.StatusOK, s.resetForms(token, ""))
	}
}

func (s *Server) resetForms(token, problem string) page {
	c := s.config.Reset
	p := page{Title: titleReset, Problem: problem, Action: c.Path, Parameter: c.Parameter, Token: token, Button: "Set password", Password: true}
	if c.Mode == modeTarget {
		p.Password, p.Button, p.Text = false, "Continue", "You will be taken to where you can set a new password."
	}
	return p
}

const modeTarget = "target"

func (s *Server) resetForm(w http.ResponseWriter, r *http.Request) {
	c := s.config.Reset
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	token, password := r.PostForm.Get(c.Parameter), r.PostForm.Get("password")
	if c.Mode != modeTarget && (password == "" || password != r.PostForm.Get("again")) {
		s.show(w, r, http.StatusUnprocessableEntity, s.resetForms(token, "The two passwords differ, or there is none."))
		return
	}
	location, err := s.reset(r, token, canonical.NewSecret(password))
	failure, refused := errors.AsType[*pluginapi.Failure](err)
	switch {
	case errors.Is(err, cutover.ErrNoLink):
		s.dead(w, r, titleReset, c)
	case refused && failure.Code == diag.TargetPasswordRefused:
		s.show(w, r, http.StatusUnprocessableEntity, s.resetForms(token, "This password is not allowed: "+failure.Detail))
	case err != nil:
		s.show(w, r, http.StatusBadGateway, s.resetForms(token, "The password could not be set just now. Please try again later; the link goes on working."))
	case location != "":
		http.Redirect(w, r, location, http.StatusSeeOther)
	case c.Mode == modeTarget:
		s.show(w, r, http.StatusOK, page{Title: titleReset, Text: "A message with a new link is on its way to your address.", Continue: c.Continue})
	default:
		s.show(w, r, http.StatusOK, page{Title: titleReset, Text: "Your new password is set.", Continue: c.Continue})
	}
}

// reset consumes a link and acts on it, both or neither.
func (s *Server) reset(r *http.Request, token string, password canonical.Secret) (location string, err error) {
	user := ""
	err = s.ask(r.Context(), func(ctx context.Context) error {
		return s.o.DB.ConsumeReset(ctx, token, func(l cutover.Link) (err error) {
			user = l.User.ID
			location, err = s.resetInTarget(ctx, l, password)
			return err
		})
	})
	failure, refused := errors.AsType[*pluginapi.Failure](err)
	switch {
	case err == nil:
		s.audit.event(r, surfaceReset, outcomeDone, user)
	case errors.Is(err, cutover.ErrNoLink):
		s.noLink(r, surfaceReset, err)
	case busy(err):
		s.audit.event(r, surfaceReset, outcomeLimited, user, reason(err.Error()))
	case refused:
		s.audit.event(r, surfaceReset, outcomeFailed, user, slog.String("code", string(failure.Code)))
	default:
		s.audit.event(r, surfaceReset, outcomeFailed, user)
		s.failure(r.Context(), err)
	}
	return location, err
}

// resetInTarget sets the password, or has the target run its own reset.
func (s *Server) resetInTarget(ctx context.Context, l cutover.Link, password canonical.Secret) (location string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	id, known, err := s.o.Accounts.TargetID(ctx, l.User)
	if err != nil {
		return "", err
	}
	email := ""
	if s.config.MatchEmail {
		email = l.Email
	} else if !known {
		return "", &pluginapi.Failure{Code: diag.TargetNoSuchAccount, Detail: "no run has loaded this account", Hint: "run stetl run first, or set bridge.match_email"}
	}
	if s.config.Reset.Mode == modeTarget {
		return s.o.Target.StartReset(ctx, pluginapi.Reset{TargetID: id, Email: email, RedirectURI: s.config.Reset.Continue})
	}
	return "", s.o.Target.SetPassword(ctx, pluginapi.PasswordChange{TargetID: id, Email: email, Password: password})
}

// resetAPI answers as SuperTokens' own API does, so that the reset page of an
// application goes on working.
func (s *Server) resetAPI(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Token      string
		FormFields []struct{ ID, Value string }
	}
	if err := decodeJSON(r, &in); err != nil {
		http.Error(w, "expected JSON", http.StatusBadRequest)
		return
	}
	password := ""
	for _, f := range in.FormFields {
		if f.ID == "password" {
			password = f.Value
		}
	}
	if password == "" {
		answerJSON(w, http.StatusOK, fieldError("a password is needed"))
		return
	}
	_, err := s.reset(r, in.Token, canonical.NewSecret(password))
	failure, refused := errors.AsType[*pluginapi.Failure](err)
	switch {
	case err == nil:
		answerJSON(w, http.StatusOK, map[string]string{"status": "OK"})
	case errors.Is(err, cutover.ErrNoLink):
		answerJSON(w, http.StatusOK, map[string]string{"status": "RESET_PASSWORD_INVALID_TOKEN_ERROR"})
	case refused && failure.Code == diag.TargetPasswordRefused:
		answerJSON(w, http.StatusOK, fieldError(failure.Detail))
	default:
		answerJSON(w, http.StatusBadGateway, map[string]string{"message": "please try again later"})
	}
}

func fieldError(text string) any {
	return map[string]any{"status": "FIELD_ERROR", "formFields": []any{map[string]string{"id": "password", "error": text}}}
}

func (s *Server) verifyPage(w http.ResponseWriter, r *http.Request) {
	c := s.config.VerifyEmail
	token := r.URL.Query().Get(c.Parameter)
	switch err := s.o.DB.PeekVerification(r.Context(), token); {
	case errors.Is(err, cutover.ErrNoLink):
		s.noLink(r, surfaceVerify, err)
		s.dead(w, r, titleVerify, c)
	case err != nil:
		s.broken(w, r, err)
	default:
		s.show(w, r, http.StatusOK, page{Title: titleVerify, Action: c.Path, Parameter: c.Parameter, Token: token, Button: "Confirm"})
	}
}

func (s *Server) verifyForm(w http.ResponseWriter, r *http.Request) {
	c := s.config.VerifyEmail
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	switch err := s.verifyLink(r, r.PostForm.Get(c.Parameter)); {
	case errors.Is(err, cutover.ErrNoLink):
		s.dead(w, r, titleVerify, c)
	case err != nil:
		s.broken(w, r, err)
	default:
		s.show(w, r, http.StatusOK, page{Title: titleVerify, Text: "Your address is confirmed.", Continue: c.Continue})
	}
}

func (s *Server) verifyAPI(w http.ResponseWriter, r *http.Request) {
	var in struct{ Token string }
	if err := decodeJSON(r, &in); err != nil {
		http.Error(w, "expected JSON", http.StatusBadRequest)
		return
	}
	switch err := s.verifyLink(r, in.Token); {
	case errors.Is(err, cutover.ErrNoLink):
		answerJSON(w, http.StatusOK, map[string]string{"status": "EMAIL_VERIFICATION_INVALID_TOKEN_ERROR"})
	case err != nil:
		answerJSON(w, http.StatusBadGateway, map[string]string{"message": "please try again later"})
	default:
		answerJSON(w, http.StatusOK, map[string]string{"status": "OK"})
	}
}

// verifyLink marks the address in the source; the next run carries it over.
func (s *Server) verifyLink(r *http.Request, token string) error {
	user := ""
	err := s.o.DB.ConsumeVerification(r.Context(), token, func(l cutover.Link) error {
		user = l.User.ID
		return nil
	})
	switch {
	case err == nil:
		s.audit.event(r, surfaceVerify, outcomeDone, user)
	case errors.Is(err, cutover.ErrNoLink):
		s.noLink(r, surfaceVerify, err)
	default:
		s.audit.event(r, surfaceVerify, outcomeFailed, user)
		s.failure(r.Context(), err)
	}
	return err
}
