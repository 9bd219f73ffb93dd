//go:build unix

package chromium_test

import (
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/stetl/stetl/internal/testserver/chromium"
)

func TestScriptsRun(t *testing.T) {
	t.Parallel()
	tab := chromium.Private(t, chromium.Start(t))
	if err := chromedp.Do(tab, chromedp.Navigate(`data:text/html,<p id=x></p><script>x.innerText=6*7</script>`)); err != nil {
		t.Fatal(err)
	}
	if text, err := chromedp.Run(tab, chromedp.Text("#x")); err != nil || text != "42" {
		t.Errorf("%q, %v", text, err)
	}
}
