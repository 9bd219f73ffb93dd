package canonical

import (
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what a non-empty [Secret] prints as.
const Redacted = "‹secret›"

// Secret is a string that does not print. fmt verbs, slog, JSON and YAML
// encoders all see [Redacted], or nothing when it is empty. The zero value is
// an absent secret.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text: text} }

// Reveal returns the clear text. Callers hand it to the one place that needs
// it and never keep, log or format it.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether there is no secret at all.
func (s Secret) IsZero() bool { return s.text == "" }

// String returns the shape, never the secret.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return Redacted
}

// Format covers every fmt verb: %v alone would leave %q, %x and %#v open.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText makes every text-based encoder write the shape.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes clear text, so that plugin configurations decode into
// fields of this type.
func (s *Secret) UnmarshalText(text []byte) error {
	s.text = string(text)
	return nil
}
