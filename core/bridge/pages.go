package bridge

import (
	"errors"
	"html/template"
	"log/slog"
	"net/http"

	"github.com/stetl/stetl/core/config"
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
	Onward               bool // go there at once
}

var pages = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">{{if .Onward}}<meta http-equiv="refresh" content="0;url={{.Continue}}">{{end}}<title>{{.Title}}</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:26rem;margin:4rem auto;padding:0 1rem}label,input,button{display:block;width:100%;box-sizing:border-box;font:inherit;margin:.4rem 0}.problem{color:#b00020}</style></head>
<body><h1>{{.Title}}</h1>{{with .Problem}}<p class="problem" id="problem" role="alert">{{.}}</p>{{end}}{{with .Text}}<p id="text">{{.}}</p>{{end}}
{{if .Button}}<form method="post" action="{{.Action}}"><input type="hidden" name="{{.Parameter}}" value="{{.Token}}">
{{if .Password}}<label for="password">New password</label><input id="password" name="password" type="password" autocomplete="new-password" required>
<label for="again">Again</label><input id="again" name="again" type="password" autocomplete="new-password" required>{{end}}
<button id="go">{{.Button}}</button></form>{{end}}
{{with .Continue}}<p><a id="continue" href="{{.}}">Continue</a></p>{{end}}</body></html>
`))

// links is what all links in mails have in common.
type links struct{ *common }

func (l links) show(w http.ResponseWriter, r *http.Request, status int, p page) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	w.WriteHeader(status)
	if err := pages.Execute(w, p); err != nil {
		l.log.DebugContext(r.Context(), "a page was not sent", slog.String("error", err.Error()))
	}
}

// own takes the form of a page from that page only. Browsers that do not say more send
// null for a form whose page sends no referrer.
func (l links) own(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "null" && l.foreign(r) {
			http.Error(w, "this origin may not send the form", http.StatusForbidden)
			return
		}
		next(w, r)
	}
}

// dead answers a link that does not work, whatever the reason.
func (l links) dead(w http.ResponseWriter, r *http.Request, title string, c config.BridgeLink) {
	l.show(w, r, http.StatusGone, page{Title: title, Problem: "This link does not work, or not any more. Please ask for a new one.", Continue: c.Continue})
}

// noLink counts a token that stands for nothing as a guess. One that did is none:
// people of one office, and their mail scanner, follow many old links.
func (l links) noLink(r *http.Request, surface string, err error) {
	if !errors.Is(err, cutover.ErrOldLink) {
		l.guard.failed(r, surface, l.guard.client(r))
	}
	l.audit.event(r, surface, outcomeRefused, "", reason("the link does not work"))
}
