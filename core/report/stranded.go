package report

import (
	"fmt"

	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/signin"
)

// SignIn is how the person of one account could sign in.
type SignIn struct {
	SourceID string       `json:"source_id"`
	Ways     []signin.Way `json:"ways"`
}

// strandedOf is how many people have no way to sign in; nil where nobody can say.
func strandedOf(r *engine.Result) *int {
	if r.Stranded == nil {
		return nil
	}
	return &r.Stranded.Accounts
}

// strandedText says in one line how many people have no way to sign in, and what helps
// most; empty when nobody is known to have none.
func strandedText(r *engine.Result) string {
	if r.Stranded == nil || r.Stranded.Accounts == 0 {
		return ""
	}
	who := Number(r.Stranded.Accounts) + " people"
	verb := "have"
	if r.Stranded.Accounts == 1 {
		who, verb = "1 person", "has"
	}
	if r.DryRun {
		verb = "would have"
	}
	text := who + " " + verb + " no way to sign in"
	if on := r.Stranded.SwitchOn; len(on) > 0 {
		return fmt.Sprintf("%s; %s, if switched on in the target, would let %s of them in", text, on[0].Text(), Number(on[0].Accounts))
	}
	return text
}

// writeStranded shows who has no way to sign in, and what would help how many.
func writeStranded(b *sheet, r *engine.Result) {
	s := r.Stranded
	if s == nil || s.Accounts == 0 {
		return
	}
	fmt.Fprintf(b, "\nNo way to sign in\n\n")
	t := table{header: []string{"what they have", "users#"}}
	for _, text := range byCount(s.Bring) {
		a, err := signin.Parse(text)
		if err != nil { // an engine of another version
			t.add(text, Number(s.Bring[text]))
			continue
		}
		t.add(a.Text(), Number(s.Bring[text]))
	}
	_ = t.write(b) // a Builder does not fail
	if len(s.SwitchOn) == 0 {
		b.WriteString("\nNothing that could be switched on in the target lets them in: they need an address there, or another way.\n")
		return
	}
	b.WriteString("\n")
	t = table{header: []string{"switch on in the target", "lets in#"}}
	for _, remedy := range s.SwitchOn {
		t.add(remedy.Text(), Number(remedy.Accounts))
	}
	_ = t.write(b)
}
