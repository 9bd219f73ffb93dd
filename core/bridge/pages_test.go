package bridge

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/config"
)

func asks(language string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept-Language", language)
	return r
}

// Each language says everything, and who asks for it gets it.
func TestLanguages(t *testing.T) {
	t.Parallel()
	all, err := readWords(bundled, "words")
	if err != nil || len(all) < 7 {
		t.Fatalf("%d languages, %v", len(all), err)
	}
	if err := lay(all, map[string]map[string]string{mainLanguage: all[mainLanguage]}); err != nil {
		t.Error(err)
	}
	p, err := newPages(config.BridgePages{})
	if err != nil {
		t.Fatal(err)
	}
	for asked, want := range map[string]string{
		"": "en", "de": "de", "de-AT,de;q=0.9,en;q=0.8": "de", "fr-CA": "fr", "ja": "ja", "pt-BR,en;q=0.1": "pt", "es-419;q=0.9, it;q=0.8": "es", "tlh": "en", "xx-invalid-,,": "en", "nl;q=0.5, fr;q=0.4": "fr",
		"en-GB": "en", "*": "en",
	} {
		if got := p.tags[p.of(asks(asked))].String(); got != want {
			t.Errorf("%q gets %s, want %s", asked, got, want)
		}
	}
	var out bytes.Buffer
	what := page{Title: wordReset, Problem: wordNotAllowed, Detail: "<8>", Action: "/reset", Parameter: "token", Token: "T", Button: wordSetPassword, Password: true}
	if err := p.render(&out, p.of(asks("de")), what); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`<html lang="de">`, "<h1>Neues Passwort festlegen</h1>", "Dieses Passwort ist nicht erlaubt: &lt;8&gt;", `<label for="again">Noch einmal</label>`, `name="token" value="T"`} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("the page has no %s: %s", part, out.String())
		}
	}
}

// Operators offer fewer languages, more, and other words, on a page of their own.
func TestBranding(t *testing.T) {
	t.Parallel()
	write := func(files map[string]string) string {
		dir := t.TempDir()
		for name, content := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	whole, err := bundled.ReadFile("words/en.json")
	if err != nil {
		t.Fatal(err)
	}
	const good = `<!doctype html><html lang="{{.Lang}}"><h1>ACME {{.Title}}</h1>{{.Problem}}{{.Text}}
{{if .Button}}<form method="post" action="{{.Action}}"><input type="hidden" name="{{.Parameter}}" value="{{.Token}}"><input name="password" type="password"><input name="again" type="password"><button>{{.Button}}</button></form>{{end}}
{{with .Continue}}<a href="{{.}}">{{$.Words.continue}}</a>{{end}}</html>`
	dir := write(map[string]string{"page.html": good, "de.json": `{"again": "Wiederholung"}`, "nl.json": strings.ReplaceAll(string(whole), "Set a new password", "Nieuw wachtwoord")})
	p, err := newPages(config.BridgePages{Languages: []string{"de", "nl"}, Templates: dir})
	if err != nil {
		t.Fatal(err)
	}
	for asked, want := range map[string]string{"": "Neues Passwort festlegen", "en": "Neues Passwort festlegen", "nl-BE": "Nieuw wachtwoord"} {
		var out bytes.Buffer
		if err := p.render(&out, p.of(asks(asked)), page{Title: wordReset}); err != nil || !strings.Contains(out.String(), "<h1>ACME "+want+"</h1>") {
			t.Errorf("%q gets %s, %v", asked, out.String(), err)
		}
	}
	if p.words[0]["again"] != "Wiederholung" {
		t.Errorf("a word of the operator's: %q", p.words[0]["again"])
	}
	for name, c := range map[string]config.BridgePages{
		`nothing in "nl"`:          {Languages: []string{"nl"}},
		`nothing in "not one"`:     {Languages: []string{"not one"}},
		`nl.json lacks`:            {Templates: write(map[string]string{"nl.json": `{"again": "Nog eens"}`})},
		`nothing is called "anew"`: {Templates: write(map[string]string{"de.json": `{"anew": "x"}`})},
		`de.json: unexpected`:      {Templates: write(map[string]string{"de.json": `{`})},
		`page.html`:                {Templates: write(map[string]string{"page.html": `{{.Nothing}}`})},
		`leaves out`:               {Templates: write(map[string]string{"page.html": `{{.Title}}`})},
		`unclosed`:                 {Templates: write(map[string]string{"page.html": `{{.Title`})},
		`no such`:                  {Templates: filepath.Join(dir, "nowhere")},
	} {
		if _, err := newPages(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
