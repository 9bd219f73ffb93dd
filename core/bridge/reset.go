package bridge

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens/cutover"
)

// resetLinks serves the links in mails with which people set a new password.
type resetLinks struct {
	links
	target   Target
	accounts Accounts
	turns    turns
}

func (l *resetLinks) routes(to *router) {
	c := l.config.Reset
	if c.Path != "" {
		to.add(c.Path, route{http.MethodGet: l.guard.limit(surfaceReset, l.page), http.MethodPost: l.own(l.guard.limit(surfaceReset, l.submit))})
	}
	if c.APIPath != "" {
		to.api(c.APIPath, "/user/password/reset", l.fromPages(c.Origins, l.guard.limit(surfaceReset, l.api)))
	}
}

// page shows a form and changes nothing: mail scanners open links, too.
func (l *resetLinks) page(w http.ResponseWriter, r *http.Request) {
	c := l.config.Reset
	token := r.URL.Query().Get(c.Parameter)
	switch err := l.db.Links.PeekReset(r.Context(), token); {
	case errors.Is(err, cutover.ErrNoLink):
		l.noLink(r, surfaceReset, err)
		l.dead(w, r, wordReset, c)
	case err != nil:
		l.broken(w, r, err)
	default:
		l.show(w, r, http.StatusOK, l.form(token, "", ""))
	}
}

func (l *resetLinks) form(token string, problem word, detail string) page {
	c := l.config.Reset
	p := page{Title: wordReset, Problem: problem, Detail: detail, Action: c.Path, Parameter: c.Parameter, Token: token, Button: wordSetPassword, Password: true}
	if c.Mode == modeTarget {
		p.Password, p.Button, p.Text = false, wordContinue, wordToTarget
	}
	return p
}

const modeTarget = "target"

func (l *resetLinks) submit(w http.ResponseWriter, r *http.Request) {
	c := l.config.Reset
	if err := r.ParseForm(); err != nil {
		l.sorry(w, r, http.StatusBadRequest, "the form cannot be read", wordNoSense)
		return
	}
	token, password := r.PostForm.Get(c.Parameter), r.PostForm.Get("password")
	if c.Mode != modeTarget && (password == "" || password != r.PostForm.Get("again")) {
		l.show(w, r, http.StatusUnprocessableEntity, l.form(token, wordDiffer, ""))
		return
	}
	location, err := l.reset(r, token, canonical.NewSecret(password))
	failure, refused := errors.AsType[*pluginapi.Failure](err)
	switch {
	case errors.Is(err, cutover.ErrNoLink):
		l.dead(w, r, wordReset, c)
	case refused && failure.Code == diag.TargetNoSuchAccount:
		l.show(w, r, http.StatusNotFound, page{Title: wordReset, Problem: wordNoAccount, Continue: c.Continue})
	case refused && failure.Code == diag.TargetPasswordRefused:
		l.show(w, r, http.StatusUnprocessableEntity, l.form(token, wordNotAllowed, failure.Detail))
	case err != nil:
		l.show(w, r, http.StatusBadGateway, l.form(token, wordNotNow, ""))
	case location != "":
		// No redirect: browsers hold it for a part of the form, which may go nowhere else.
		l.show(w, r, http.StatusOK, page{Title: wordReset, Text: wordTaken, Continue: location, Onward: true})
	case c.Mode == modeTarget:
		l.show(w, r, http.StatusOK, page{Title: wordReset, Text: wordMailed, Continue: c.Continue})
	default:
		l.show(w, r, http.StatusOK, page{Title: wordReset, Text: wordSet, Continue: c.Continue})
	}
}

// reset consumes a link and acts on it, both or neither.
func (l *resetLinks) reset(r *http.Request, token string, password canonical.Secret) (location string, err error) {
	user := ""
	err = l.turns.ask(r.Context(), func(ctx context.Context) error {
		return l.db.Links.ConsumeReset(ctx, token, l.config.Reset.EndsSessions(), func(link cutover.Link) (err error) {
			user = link.User.ID
			location, err = l.inTarget(ctx, link, password)
			return err
		})
	})
	failure, refused := errors.AsType[*pluginapi.Failure](err)
	switch {
	case err == nil:
		l.audit.event(r, surfaceReset, outcomeDone, user)
	case errors.Is(err, cutover.ErrNoLink):
		l.noLink(r, surfaceReset, err)
	case busy(err):
		l.audit.event(r, surfaceReset, outcomeLimited, user, reason(err.Error()))
	case refused:
		l.audit.event(r, surfaceReset, outcomeFailed, user, slog.String("code", string(failure.Code)))
	default:
		l.audit.event(r, surfaceReset, outcomeFailed, user)
		l.failure(r.Context(), err)
	}
	return location, err
}

// inTarget sets the password, or has the target run its own reset.
func (l *resetLinks) inTarget(ctx context.Context, link cutover.Link, password canonical.Secret) (location string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	id, known, err := l.accounts.TargetID(ctx, link.User)
	if err != nil {
		return "", err
	}
	email := ""
	if l.config.MatchEmail {
		email = link.Email
	} else if !known {
		return "", &pluginapi.Failure{Code: diag.TargetNoSuchAccount, Detail: "no run has loaded this account", Hint: "run stetl run first, or set bridge.match_email"}
	}
	if l.config.Reset.Mode == modeTarget {
		return l.target.StartReset(ctx, pluginapi.Reset{TargetID: id, Email: email, RedirectURI: l.config.Reset.Continue})
	}
	return "", l.target.SetPassword(ctx, pluginapi.PasswordChange{TargetID: id, Email: email, Password: password, EndSessions: l.config.Reset.EndsSessions()})
}

// api answers as SuperTokens' own API does, so that the reset page of an
// application goes on working.
func (l *resetLinks) api(w http.ResponseWriter, r *http.Request) {
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
	_, err := l.reset(r, in.Token, canonical.NewSecret(password))
	failure, refused := errors.AsType[*pluginapi.Failure](err)
	switch {
	case err == nil:
		answerJSON(w, http.StatusOK, map[string]string{"status": "OK"})
	case errors.Is(err, cutover.ErrNoLink), refused && failure.Code == diag.TargetNoSuchAccount:
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
