package httpx

import (
	"strings"
	"testing"
)

func TestAddressProblem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"https://id.example.com/scim/v2": "",
		"http://localhost:8080":          "",
		"http://127.0.0.1:1":             "",
		"http://[::1]/":                  "",
		"http://id.example.com":          "clear text",
		"https://me:hidden@example.com":  "user name",
		"https://example.com/?a=b":       "query",
		"https://example.com/?":          "query",
		"https://example.com/#x":         "fragment",
		"ftp://example.com":              "https://",
		"https://":                       "no host",
		"https://%zz:hidden":             "parsed",
	} {
		got := AddressProblem(text, false)
		if (got == "") != (want == "") || !strings.Contains(got, want) || strings.Contains(got, "hidden") {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	if got := AddressProblem("http://id.example.com", true); got != "" {
		t.Errorf("in clear: %s", got)
	}
}
