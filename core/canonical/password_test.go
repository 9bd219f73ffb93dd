package canonical

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePasswordHash(t *testing.T) {
	t.Parallel()
	const bcryptTail = "VYMke6bA9Nzc9Ne1NBY3FulsvVc.uabXkG3mrHFbm0n.p592T/ABm"
	tests := map[string]struct {
		stored, shape string
		salt, digest  int
	}{
		"none":                      {"", "none", 0, 0},
		"bcrypt 2a":                 {"$2a$11$" + bcryptTail, "bcrypt 2a cost 11", 16, 23},
		"bcrypt 2b":                 {"$2b$10$" + bcryptTail, "bcrypt 2b cost 10", 16, 23},
		"bcrypt 2x":                 {"$2x$04$" + bcryptTail, "bcrypt 2x cost 4", 16, 23},
		"bcrypt 2y":                 {"$2y$31$" + bcryptTail, "bcrypt 2y cost 31", 16, 23},
		"bcrypt cost too high":      {"$2a$32$" + bcryptTail, "unknown (60 bytes)", 0, 0},
		"bcrypt cost too low":       {"$2a$03$" + bcryptTail, "unknown (60 bytes)", 0, 0},
		"bcrypt without revision":   {"$2$10$" + bcryptTail, "unknown (59 bytes)", 0, 0},
		"bcrypt revision c":         {"$2c$10$" + bcryptTail, "unknown (60 bytes)", 0, 0},
		"bcrypt cut":                {"$2a$11$" + bcryptTail[:52], "unknown (59 bytes)", 0, 0},
		"argon2id core default":     {"$argon2id$v=19$m=87795,t=1,p=2$c3RldGwtc2FsdC0xNmJ5dA$SgaE37c5epRNHGSQYxUjY8eE1X//Qa3f7ImxyTAedyc", "argon2id v19 m=87795 t=1 p=2", 16, 32},
		"argon2i":                   {"$argon2i$v=19$m=4096,t=3,p=1$c3RldGwtc2FsdC0xNmJ5dA$SgaE37c5epRNHGSQYxUjY8eE1X//Qa3f7ImxyTAedyc", "argon2i v19 m=4096 t=3 p=1", 16, 32},
		"argon2d, other order":      {"$argon2d$v=16$p=1,m=4096,t=3$c3RldGwtc2FsdC0xNmJ5dA$SgaE37c5epRNHGSQYxUjY8eE1X//Qa3f7ImxyTAedyc", "argon2d v16 m=4096 t=3 p=1", 16, 32},
		"argon2 without version":    {"$argon2id$m=4096,t=3,p=1$c3RldGwtc2FsdC0xNmJ5dA$SgaE37c5epRNHGSQYxUjYw", "argon2id v16 m=4096 t=3 p=1", 16, 16},
		"argon2 of the future":      {"$argon2id$v=20$m=4096,t=3,p=1$c3RldGwtc2FsdC0xNmJ5dA$SgaE37c5epRNHGSQYxUjYw", "unknown (75 bytes)", 0, 0},
		"argon2 with a secret":      {"$argon2id$v=19$m=4096,t=3,p=1,keyid=1$c3RldGwtc2FsdC0xNmJ5dA$SgaE37c5epRNHGSQYxUjYw", "unknown (83 bytes)", 0, 0},
		"argon2 without memory":     {"$argon2id$v=19$t=3,p=1$c3RldGwtc2FsdC0xNmJ5dA$SgaE37c5epRNHGSQYxUjYw", "unknown (68 bytes)", 0, 0},
		"firebase":                  {"$f_scrypt$4/NA6z/m7MUKz85VgoNaLIG9tpmGq2H1SWZrpfIeulchOnueD2to4DlIvpjaVm1ttzk9v5GuEsBBJtMcNT6E1WjcM0vgAg==$c3RldGxzYWx0$m=14$r=8$s=Bw==", "firebase_scrypt m=14 r=8", 9, 70},
		"firebase, other order":     {"$f_scrypt$4/NA6w==$c3RldGxzYWx0$s=Bw==$r=8$m=14", "firebase_scrypt m=14 r=8", 9, 4},
		"firebase, parameter twice": {"$f_scrypt$4/NA6w==$c3RldGxzYWx0$m=14$r=8$m=14", "unknown (45 bytes)", 0, 0},
		"firebase, field missing":   {"$f_scrypt$4/NA6w==$c3RldGxzYWx0$m=14$r=8", "unknown (40 bytes)", 0, 0},
		"clear text":                {"hunter2", "unknown (7 bytes)", 0, 0},
		"pbkdf2":                    {"$pbkdf2-sha256$i=1$c2FsdA$aGFzaA", "unknown (32 bytes)", 0, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := ParsePasswordHash(tt.stored)
			got := []any{h.Shape(), len(h.Salt()), len(h.Digest()), h.Encode(), h.IsZero()}
			want := []any{tt.shape, tt.salt, tt.digest, tt.stored, tt.stored == ""}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParsePasswordHash(f *testing.F) {
	f.Add("$2a$11$VYMke6bA9Nzc9Ne1NBY3FulsvVc.uabXkG3mrHFbm0n.p592T/ABm")
	f.Add("$argon2id$v=19$m=87795,t=1,p=2$c3RldGwtc2FsdC0xNmJ5dA$SgaE37c5epRNHGSQYxUjY8eE1X//Qa3f7ImxyTAedyc")
	f.Add("$f_scrypt$4/NA6w==$c3RldGxzYWx0$m=14$r=8$s=Bw==")
	f.Add("$argon2id$m=1,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, stored string) {
		h := ParsePasswordHash(stored)
		if h.Encode() != stored {
			t.Errorf("Encode gives %q for %q", h.Encode(), stored)
		}
		if len(stored) > 40 && strings.Contains(h.Shape(), stored[len(stored)-20:]) {
			t.Errorf("the shape shows the hash: %s", h.Shape())
		}
		switch h.Scheme {
		case Argon2i, Argon2id, Argon2d:
			if h.Argon2 == nil {
				t.Error("argon2 without parameters")
			}
		case FirebaseScrypt:
			if h.Firebase == nil {
				t.Error("firebase without parameters")
			}
		case Bcrypt, UnknownScheme, "":
		default:
			t.Errorf("a scheme nobody knows: %q", h.Scheme)
		}
	})
}

// TestBcryptParts: a hash that nobody made by parsing has no parts, and one with a
// character of another alphabet is none.
func TestBcryptParts(t *testing.T) {
	t.Parallel()
	const stored = "$2a$11$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"
	h := ParsePasswordHash(stored)
	if len(h.Salt()) != 16 || len(h.Digest()) != 23 {
		t.Errorf("%d bytes of salt, %d of digest", len(h.Salt()), len(h.Digest()))
	}
	if made := (PasswordHash{Scheme: Bcrypt}); made.Salt() != nil || made.Digest() != nil {
		t.Errorf("parts of nothing: %v %v", made.Salt(), made.Digest())
	}
	for _, c := range []string{"+", "=", "\n", "$", "\x80"} {
		for _, at := range []int{7, 28, 29, 59} {
			if h := ParsePasswordHash(stored[:at] + c + stored[at+1:]); h.Scheme != UnknownScheme {
				t.Errorf("%q at %d: %s", c, at, h)
			}
		}
	}
}
