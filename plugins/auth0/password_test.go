package auth0

import (
	"strings"
	"testing"

	"github.com/stetl/stetl/core/canonical"
)

func TestTranslate(t *testing.T) {
	t.Parallel()
	const salt, digest = "MDEyMzQ1Njc4OWFiY2RlZg", "sNKznPF1BV4VQoRexVINndQnYd7QV9WZ59fKGV59v48"
	tests := []struct{ stored, native, algorithm, value, note, refused string }{
		{stored: "$2a$10" + tail, native: "$2a$10" + tail},
		{stored: "$2b$10" + tail, native: "$2b$10" + tail},
		{stored: "$2y$10" + tail, native: "$2b$10" + tail, note: "gets the prefix"},
		{stored: "$2x$10" + tail, native: "$2a$10" + tail, note: "gets the prefix"},
		{stored: "$2a$11" + tail, algorithm: "bcrypt", value: "$2a$11" + tail},
		{stored: "$2y$12" + tail, algorithm: "bcrypt", value: "$2b$12" + tail, note: "gets the prefix"},
		{stored: "$2b$04" + tail, algorithm: "bcrypt", value: "$2b$04" + tail},
		{stored: argon2Hash, algorithm: "argon2", value: argon2Hash},
		{stored: strings.Replace(argon2Hash, "argon2id", "argon2i", 1), algorithm: "argon2", value: strings.Replace(argon2Hash, "argon2id", "argon2i", 1)},
		{stored: strings.Replace(argon2Hash, "m=87795,t=1,p=2", "t=1,m=87795,p=2", 1), algorithm: "argon2", value: argon2Hash, note: "order"},
		{stored: strings.Replace(argon2Hash, "argon2id", "argon2d", 1), refused: "argon2d"},
		{stored: strings.Replace(argon2Hash, "$v=19", "", 1), refused: "v=19"},
		{stored: strings.Replace(argon2Hash, digest, "sNKznPF1BV4VQoRe", 1), refused: "digest"},
		{stored: strings.Replace(argon2Hash, salt, "MDEyMzQ", 1), refused: "salt"},
		{stored: strings.Replace(argon2Hash, "m=87795", "m=8", 1), refused: "lane"},
		{stored: "$f_scrypt$c2hhcmVk$c2FsdA==$m=14$r=8$s=Bw==", refused: "Firebase"},
		{stored: "plain", refused: "kind of the stored hash is unknown"},
	}
	for _, test := range tests {
		t.Run(test.stored, func(t *testing.T) {
			t.Parallel()
			p, refused := translate(canonical.ParsePasswordHash(test.stored))
			if test.refused != "" {
				if !strings.Contains(refused, test.refused) || p.secret() != "" {
					t.Errorf("refused %q, want %q; secret %v", refused, test.refused, p.secret() != "")
				}
				return
			}
			if refused != "" || p.native != test.native {
				t.Errorf("refused %q, native %q, want %q", refused, p.native, test.native)
			}
			if test.algorithm != "" && (p.custom == nil || p.custom.Algorithm != test.algorithm || p.custom.Hash.Value != test.value || p.custom.Hash.Encoding != "utf8") {
				t.Errorf("custom %+v", p.custom)
			}
			if test.note == "" && p.note != "" || !strings.Contains(p.note, test.note) {
				t.Errorf("note %q, want %q", p.note, test.note)
			}
		})
	}
}
