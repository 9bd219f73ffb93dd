package migration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
)

// The target is told of the algorithm that the bridge will sign with: a key that is given
// has its own, whatever the setting says. It is not told of the secret where it only looks.
func TestBrokerIsWhatTheBridgeWillBe(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	given := canonical.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	clients := []config.BridgeClient{{ID: "kc", Secret: canonical.NewSecret("secret")}}
	for want, c := range map[string]config.Bridge{
		"RS256": {Set: true, SigningAlgorithm: "RS256", Clients: clients},
		"ES256": {Set: true, SigningAlgorithm: "RS256", SigningKey: given, Clients: clients},
	} {
		b := broker(c)
		if b.Algorithm != want || b.ClientID != "kc" || !b.ClientSecret.IsZero() {
			t.Errorf("%+v, want %s", b, want)
		}
	}
	if b := broker(config.Bridge{SigningAlgorithm: "RS256"}); b != nil {
		t.Errorf("a bridge that nobody asked for: %+v", b)
	}
}
