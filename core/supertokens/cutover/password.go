package cutover

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"

	"github.com/stetl/stetl/core/canonical"
)

// ErrHash is for a stored hash that cannot be checked here: its scheme is not
// known, or the key that it needs was not given.
var ErrHash = errors.New("a password hash that cannot be checked")

// Bounds of what a stored hash may cost, far above what cores make.
const (
	maxMemoryKiB  = 1 << 20
	maxIterations = 64
	maxScryptCost = 20
	maxScryptR    = 64
	maxPassword   = 4096
)

// VerifyPassword tells whether the password belongs to the hash. signer is the
// base64 of the key that hashes from Firebase were made with.
func VerifyPassword(hash canonical.PasswordHash, password, signer canonical.Secret) (bool, error) {
	if len(password.Reveal()) > maxPassword {
		return false, nil
	}
	switch hash.Scheme {
	case canonical.Bcrypt:
		return verifyBcrypt(hash, password)
	case canonical.Argon2id, canonical.Argon2i:
		return verifyArgon2(hash, password)
	case canonical.FirebaseScrypt:
		return verifyFirebase(hash, password, signer)
	default:
		return false, fmt.Errorf("%w: scheme %s", ErrHash, hash.Scheme)
	}
}

// verifyBcrypt takes every variant for 2a, 2x as well, as SuperTokens does.
func verifyBcrypt(hash canonical.PasswordHash, password canonical.Secret) (bool, error) {
	switch err := bcrypt.CompareHashAndPassword([]byte(hash.Encode()), []byte(password.Reveal())); {
	case err == nil:
		return true, nil
	case errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
		return false, nil
	default:
		return false, fmt.Errorf("%w: bcrypt", ErrHash)
	}
}

func verifyArgon2(hash canonical.PasswordHash, password canonical.Secret) (bool, error) {
	p := hash.Argon2
	if p.Version != argon2.Version || p.MemoryKiB > maxMemoryKiB || p.Iterations > maxIterations || p.Parallelism > 255 || len(hash.Digest()) < 4 {
		return false, fmt.Errorf("%w: argon2 with %s", ErrHash, hash.Shape())
	}
	derive := argon2.IDKey
	if hash.Scheme == canonical.Argon2i {
		derive = argon2.Key
	}
	key := derive([]byte(password.Reveal()), hash.Salt(), p.Iterations, p.MemoryKiB, uint8(p.Parallelism), uint32(len(hash.Digest()))) //nolint:gosec // bounded above
	return subtle.ConstantTimeCompare(key, hash.Digest()) == 1, nil
}

// verifyFirebase derives a key from the password and encrypts the signer key with
// it. The core sees passwords as ASCII.
func verifyFirebase(hash canonical.PasswordHash, password, signer canonical.Secret) (bool, error) {
	key, err := base64.StdEncoding.DecodeString(signer.Reveal())
	if err != nil || len(key) == 0 {
		return false, fmt.Errorf("%w: source.firebase_signer_key is missing or not base64", ErrHash)
	}
	p := hash.Firebase
	if p.MemoryCost > maxScryptCost || p.Rounds > maxScryptR {
		return false, fmt.Errorf("%w: %s", ErrHash, hash.Shape())
	}
	ascii := make([]byte, 0, len(password.Reveal()))
	for _, r := range password.Reveal() {
		if r >= 0x80 {
			r = '?' // a pair of UTF-16 surrogates is one character to Java's encoder, too
		}
		ascii = append(ascii, byte(r))
	}
	salt := append(append([]byte{}, hash.Salt()...), p.Separator()...)
	derived, err := scrypt.Key(ascii, salt, 1<<p.MemoryCost, p.Rounds, 1, 64)
	if err != nil {
		return false, fmt.Errorf("%w: scrypt with %s", ErrHash, hash.Shape())
	}
	block, err := aes.NewCipher(derived[:32])
	if err != nil {
		return false, fmt.Errorf("set up encryption of the signer key: %w", err)
	}
	sealed := make([]byte, len(key))
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(sealed, key) //nolint:gosec // Firebase's own way: the key is used for this one text
	return subtle.ConstantTimeCompare(sealed, hash.Digest()) == 1, nil
}
