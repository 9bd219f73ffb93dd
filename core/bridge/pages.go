package bridge

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/text/language"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/supertokens/cutover"
)

// bundled has the page that people see, and what it says in each language.
//
//go:embed page.html words/*.json
var bundled embed.FS

// word is the name of something that pages say.
type word string

// What pages say, as in words/en.json.
const (
	wordReset       word = "reset_title"
	wordVerify      word = "verify_title"
	wordSorry       word = "sorry_title"
	wordSetPassword word = "set_password"
	wordConfirm     word = "confirm"
	wordContinue    word = "continue"
	wordToTarget    word = "to_target"
	wordTaken       word = "taken"
	wordMailed      word = "mailed"
	wordSet         word = "password_set"
	wordConfirmed   word = "confirmed"
	wordDead        word = "dead"
	wordDiffer      word = "differ"
	wordNoAccount   word = "no_account"
	wordNotAllowed  word = "not_allowed"
	wordNotNow      word = "not_now"
	wordWrong       word = "wrong"
	wordTooOften    word = "too_often"
	wordNoSense     word = "no_sense"
	wordSignedOut   word = "signed_out"
)

// page is what people behind a link see, before it is put into their language.
type page struct {
	Title, Text, Problem word
	Detail               string // of a problem, in the words of the target
	Action, Parameter    string
	Token                string
	Password             bool // ask for one
	Button               word
	Continue             string
	Onward               bool // go there at once
}

// shown is what a template gets. Templates of operators rely on these names.
type shown struct {
	Lang                 string // the language, as in de
	Title, Text, Problem string
	Action, Parameter    string // of the form: where it is sent, and the field with Token
	Token                string
	Password             bool // the form has the fields password and again
	Button               string
	Continue             string // where to go on; with Onward the page leads there by itself
	Onward               bool
	Words                map[string]string // everything that the bridge says in this language
}

// pages are those of one bridge, in all of its languages.
type pages struct {
	template *template.Template
	tags     []language.Tag
	matcher  language.Matcher
	words    []map[string]string // of the tags
}

// newPages reads what is bundled, and what the operator has put over it.
func newPages(c config.BridgePages) (*pages, error) {
	words, err := readWords(bundled, "words")
	if err != nil {
		return nil, err
	}
	source, err := bundled.ReadFile("page.html")
	if err != nil {
		return nil, err
	}
	if c.Templates != "" {
		if _, err := os.ReadDir(c.Templates); err != nil {
			return nil, fmt.Errorf("bridge.pages.templates: %w", err)
		}
		own, err := os.ReadFile(path.Join(c.Templates, "page.html"))
		switch {
		case err == nil:
			source = own
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("bridge.pages.templates: %w", err)
		}
		over, err := readWords(os.DirFS(c.Templates), ".")
		if err != nil {
			return nil, fmt.Errorf("bridge.pages.templates: %w", err)
		}
		if err := lay(over, words); err != nil {
			return nil, fmt.Errorf("bridge.pages.templates: %w", err)
		}
	}
	offered := c.Languages
	if len(offered) == 0 {
		offered = append([]string{mainLanguage}, slices.DeleteFunc(slices.Sorted(maps.Keys(words)), func(name string) bool { return name == mainLanguage })...)
	}
	p := &pages{}
	for _, name := range offered {
		tag, err := language.Parse(name)
		if err != nil || words[name] == nil {
			return nil, fmt.Errorf("bridge.pages.languages: there is nothing in %q; there is %s, and what a file %s.json in bridge.pages.templates says", name, strings.Join(slices.Sorted(maps.Keys(words)), ", "), name)
		}
		p.tags, p.words = append(p.tags, tag), append(p.words, words[name])
	}
	p.matcher = language.NewMatcher(p.tags)
	if p.template, err = template.New("page.html").Option("missingkey=error").Parse(string(source)); err != nil {
		return nil, fmt.Errorf("bridge.pages.templates: %w", err)
	}
	return p, p.try()
}

// mainLanguage is for who asks for none that there is.
const mainLanguage = "en"

// readWords reads files called after languages.
func readWords(from fs.FS, dir string) (map[string]map[string]string, error) {
	files, err := fs.Glob(from, path.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	out := map[string]map[string]string{}
	for _, file := range files {
		raw, err := fs.ReadFile(from, file)
		if err != nil {
			return nil, err
		}
		var words map[string]string
		if err := json.Unmarshal(raw, &words); err != nil {
			return nil, fmt.Errorf("%s: %w", path.Base(file), err)
		}
		out[strings.TrimSuffix(path.Base(file), ".json")] = words
	}
	return out, nil
}

// lay puts words of the operator over those that are there. A language that is new has to
// be whole.
func lay(over, words map[string]map[string]string) error {
	for name, own := range over {
		for w := range own {
			if _, known := words[mainLanguage][w]; !known {
				return fmt.Errorf("%s.json: nothing is called %q; there is %s", name, w, joined(words[mainLanguage]))
			}
		}
		if words[name] == nil {
			words[name] = map[string]string{}
		}
		maps.Copy(words[name], own)
		for w := range words[mainLanguage] {
			if words[name][w] == "" {
				return fmt.Errorf("%s.json lacks %q", name, w)
			}
		}
	}
	return nil
}

func joined(words map[string]string) string {
	var names []string
	for w := range words {
		names = append(names, w)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// try finds at the start what is wrong with a template of the operator.
func (p *pages) try() error {
	const sample = "sample-token"
	for _, ask := range []page{
		{Title: wordReset, Problem: wordDiffer, Action: "/", Parameter: "sample-parameter", Token: sample, Button: wordSetPassword, Password: true},
		{Title: wordReset, Text: wordTaken, Continue: "https://example.com/", Onward: true},
	} {
		var out bytes.Buffer
		if err := p.render(&out, 0, ask); err != nil {
			return fmt.Errorf("bridge.pages.templates: %w", err)
		}
		for _, part := range []string{ask.Token, ask.Parameter, ask.Continue} {
			if !strings.Contains(out.String(), part) {
				return errors.New("bridge.pages.templates: page.html leaves out what it needs: Action, Parameter, Token and Continue, and the fields password and again where Password is set")
			}
		}
	}
	return nil
}

// render writes a page in the language of this number.
func (p *pages) render(to io.Writer, n int, what page) error {
	words := p.words[n]
	say := func(w word) string { return words[string(w)] }
	out := shown{
		Lang: p.tags[n].String(), Title: say(what.Title), Text: say(what.Text), Problem: say(what.Problem), Action: what.Action, Parameter: what.Parameter,
		Token: what.Token, Password: what.Password, Button: say(what.Button), Continue: what.Continue, Onward: what.Onward, Words: words,
	}
	if what.Detail != "" {
		out.Problem += " " + what.Detail
	}
	return p.template.Execute(to, out)
}

// of is the language that a request asks for, of those that there are.
func (p *pages) of(r *http.Request) int {
	wanted, _, err := language.ParseAcceptLanguage(r.Header.Get("Accept-Language"))
	if err != nil || len(wanted) == 0 {
		return 0
	}
	_, n, confidence := p.matcher.Match(wanted...)
	if confidence == language.No {
		return 0
	}
	return n
}

// show answers with a page in the language of the visitor.
func (c *common) show(w http.ResponseWriter, r *http.Request, status int, what page) {
	n := c.pages.of(r)
	var out bytes.Buffer
	if err := c.pages.render(&out, n, what); err != nil {
		c.failure(r.Context(), err)
		http.Error(w, "something went wrong", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", c.pages.tags[n].String())
	h.Add("Vary", "Accept-Language")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	w.WriteHeader(status)
	if _, err := w.Write(out.Bytes()); err != nil {
		c.log.DebugContext(r.Context(), "a page was not sent", slog.String("error", err.Error()))
	}
}

// sorry answers what has gone wrong: to a person with a page, to a program with a line.
func (c *common) sorry(w http.ResponseWriter, r *http.Request, status int, line string, what word) {
	if !person(r) {
		http.Error(w, line, status)
		return
	}
	c.show(w, r, status, page{Title: wordSorry, Problem: what})
}

// person tells whether a browser asks for a page.
func person(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }

// links is what all links in mails have in common.
type links struct{ *common }

// own takes the form of a page from that page only. Browsers that do not say more send
// null for a form whose page sends no referrer.
func (l links) own(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "null" && l.foreign(r) {
			l.sorry(w, r, http.StatusForbidden, "this origin may not send the form", wordNoSense)
			return
		}
		next(w, r)
	}
}

// dead answers a link that does not work, whatever the reason.
func (l links) dead(w http.ResponseWriter, r *http.Request, title word, c config.BridgeLink) {
	l.show(w, r, http.StatusGone, page{Title: title, Problem: wordDead, Continue: c.Continue})
}

// noLink counts a token that stands for nothing as a guess. One that did is none:
// people of one office, and their mail scanner, follow many old links.
func (l links) noLink(r *http.Request, surface string, err error) {
	if !errors.Is(err, cutover.ErrOldLink) {
		l.guard.failed(r, surface, l.guard.client(r))
	}
	l.audit.event(r, surface, outcomeRefused, "", reason("the link does not work"))
}
