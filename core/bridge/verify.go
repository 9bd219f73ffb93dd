package bridge

import (
	"errors"
	"net/http"

	"github.com/stetl/stetl/core/supertokens/cutover"
)

// verifyLinks serves the links in mails with which people confirm their address.
type verifyLinks struct{ links }

func (l *verifyLinks) routes(to *router) {
	c := l.config.VerifyEmail
	if c.Path != "" {
		to.add(c.Path, route{http.MethodGet: l.guard.limit(surfaceVerify, l.page), http.MethodPost: l.own(l.guard.limit(surfaceVerify, l.submit))})
	}
	if c.APIPath != "" {
		to.api(c.APIPath, "/user/email/verify", l.fromPages(c.Origins, l.guard.limit(surfaceVerify, l.api)))
	}
}

func (l *verifyLinks) page(w http.ResponseWriter, r *http.Request) {
	c := l.config.VerifyEmail
	token := r.URL.Query().Get(c.Parameter)
	switch err := l.db.Links.PeekVerification(r.Context(), token); {
	case errors.Is(err, cutover.ErrNoLink):
		l.noLink(r, surfaceVerify, err)
		l.dead(w, r, wordVerify, c)
	case err != nil:
		l.broken(w, r, err)
	default:
		l.show(w, r, http.StatusOK, page{Title: wordVerify, Action: c.Path, Parameter: c.Parameter, Token: token, Button: wordConfirm})
	}
}

func (l *verifyLinks) submit(w http.ResponseWriter, r *http.Request) {
	c := l.config.VerifyEmail
	if err := r.ParseForm(); err != nil {
		l.sorry(w, r, http.StatusBadRequest, "the form cannot be read", wordNoSense)
		return
	}
	switch err := l.verify(r, r.PostForm.Get(c.Parameter)); {
	case errors.Is(err, cutover.ErrNoLink):
		l.dead(w, r, wordVerify, c)
	case err != nil:
		l.broken(w, r, err)
	default:
		l.show(w, r, http.StatusOK, page{Title: wordVerify, Text: wordConfirmed, Continue: c.Continue})
	}
}

func (l *verifyLinks) api(w http.ResponseWriter, r *http.Request) {
	var in struct{ Token string }
	if err := decodeJSON(r, &in); err != nil {
		http.Error(w, "expected JSON", http.StatusBadRequest)
		return
	}
	switch err := l.verify(r, in.Token); {
	case errors.Is(err, cutover.ErrNoLink):
		answerJSON(w, http.StatusOK, map[string]string{"status": "EMAIL_VERIFICATION_INVALID_TOKEN_ERROR"})
	case err != nil:
		answerJSON(w, http.StatusBadGateway, map[string]string{"message": "please try again later"})
	default:
		answerJSON(w, http.StatusOK, map[string]string{"status": "OK"})
	}
}

// verify marks the address in the source; the next run carries it over.
func (l *verifyLinks) verify(r *http.Request, token string) error {
	user := ""
	err := l.db.Links.ConsumeVerification(r.Context(), token, func(link cutover.Link) error {
		user = link.User.ID
		return nil
	})
	switch {
	case err == nil:
		l.audit.event(r, surfaceVerify, outcomeDone, user)
	case errors.Is(err, cutover.ErrNoLink):
		l.noLink(r, surfaceVerify, err)
	default:
		l.audit.event(r, surfaceVerify, outcomeFailed, user)
		l.failure(r.Context(), err)
	}
	return err
}
