package conversation

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/pluginpb"
)

const (
	bcryptHash = "$2a$11$abcdefghijklmnopqrstuuKVp/qYJhGd1Z8v2mX7sW9tR3nB5cL6e"
	argonHash  = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo"
	totpSecret = "JBSWY3DPEHPK3PXPJBSWY3DP"
)

// secretive is a user with everything that must not print.
func secretive(id, hash string) pluginapi.User {
	return pluginapi.User{
		SourceID: id, Class: pluginapi.HashCarried, Password: canonical.ParsePasswordHash(hash),
		TOTP: []canonical.TOTPDevice{{Secret: canonical.NewSecret(totpSecret)}},
	}
}

func TestMaskKnowsWhatWasSent(t *testing.T) {
	t.Parallel()
	var m mask
	for _, hash := range []string{bcryptHash, argonHash, "a hash of an unknown kind"} {
		u := secretive("1", hash)
		m.learn(&u)
	}
	for _, text := range []string{
		bcryptHash, argonHash, "a hash of an unknown kind", bcryptHash[29:], totpSecret, strings.ToLower(totpSecret),
		url.QueryEscape(bcryptHash), hex.EncodeToString([]byte(bcryptHash)), base64.StdEncoding.EncodeToString([]byte(bcryptHash)),
		base64.URLEncoding.EncodeToString([]byte(totpSecret)), hex.EncodeToString([]byte("hashhashhashhashhashhash")), "aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
	} {
		got, _ := m.apply("before " + text + " after, and \"" + text + "\"")
		if strings.Contains(got, text) || !strings.HasPrefix(got, "before") || strings.Count(got, canonical.Redacted) < 2 {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

func TestMaskKnowsWhatLooksLikeASecret(t *testing.T) {
	t.Parallel()
	var m mask
	for _, text := range []string{
		bcryptHash, bcryptHash[:20], argonHash, "$f_scrypt$aGFzaA==$c2FsdA==$m=14$r=8$s=Bw==", "pbkdf2_sha256$260000$salt$aGFzaA==", "$6$rounds=5000$salt$hash",
		"{SSHA}c2FsdGVkaGFzaA==", "{SSHA512}c2FsdGVkaGFzaA==", "otpauth://totp/Acme:a@b.c?secret=ABCD&issuer=Acme", totpSecret,
	} {
		got, _ := m.apply("x (" + text + ")")
		_, secret, _ := strings.Cut(text, "://")
		if strings.Contains(got, text) || secret != "" && strings.Contains(got, secret) || !strings.Contains(got, canonical.Redacted) {
			t.Errorf("%q becomes %q", text, got)
		}
	}
	for _, text := range []string{
		"", "x", "409 Conflict: the address a@example.org is taken", "2d931510-d99f-494a-8c67-87feb05e1594", "AUTHENTICATIONREQUIRED", "1234567234567234567",
		"it costs $5, or $1.50", "bcrypt with a cost of 11", "argon2id m=65536,t=3,p=4", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"${env:URL}", "{BASE64}x",
	} {
		if got, _ := m.apply(text); got != text {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

// What was sent long ago is forgotten, and what is short only looked for while it is under way.
func TestMaskForgets(t *testing.T) {
	t.Parallel()
	var m mask
	for i := range remembered + 3 {
		m.add([]string{fmt.Sprintf("a secret of somebody %09d", i)})
	}
	if len(m.sent) != remembered || m.known("a secret of somebody 000000002") != "a secret of somebody 000000002" || m.known("a secret of somebody 000000003") != canonical.Redacted {
		t.Errorf("%d are remembered: %q", len(m.sent), m.known("a secret of somebody 000000003"))
	}
	end := m.pass(canonical.NewSecret("hunter2"))
	during, leaked := m.apply("the password hunter2 is wrong")
	end()
	if after, _ := m.apply("hunter2"); strings.Contains(during, "hunter2") || !leaked || after != "hunter2" {
		t.Errorf("during %q, after %q", during, after)
	}
}

// A plugin that says all it knows gives away nothing.
func TestNothingThatAPluginSaysHoldsASecret(t *testing.T) {
	t.Parallel()
	all := bcryptHash + " " + totpSecret
	s, log := start(t, &rogue{load: func(st *loadStream) error {
		req, err := (*st).Recv()
		if err != nil {
			return err
		}
		err = (*st).Send(&pluginpb.LoadResponse{BatchId: req.GetBatch().GetId(), Outcomes: []*pluginpb.Outcome{
			{SourceId: "a", Action: pluginpb.Action_ACTION_CREATED, TargetId: all, Detail: all, Hint: all, Code: all, Changed: []string{all}, Losses: []*pluginpb.PartLoss{
				{Feature: "roles", Code: "x.y", Attribute: all, Detail: all},
			}},
			{SourceId: all, Action: pluginpb.Action_ACTION_CREATED},
			{SourceId: "b", Action: 99},
		}})
		if err != nil {
			return err
		}
		return status.Error(codes.Internal, all)
	}}, Options{})
	outcomes, err := s.Load(t.Context(), []pluginapi.User{secretive("a", bcryptHash), secretive("b", bcryptHash)})
	text := fmt.Sprintf("%+v %v %s", outcomes, err, log)
	if !strings.Contains(text, "what it says is masked") {
		t.Error("the log does not say that the plugin gives secrets away")
	}
	for _, secret := range []string{bcryptHash[7:], totpSecret} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in %s", secret, text)
		}
	}
	if err == nil || outcomes[0].Action != pluginapi.Created || !strings.Contains(log.String(), "an id that holds a secret") {
		t.Errorf("%v, %+v", err, outcomes)
	}
}

// Whatever an id is made of, a secret in it is found; those that cannot hold one are not
// searched.
func TestMaskKnowsIDs(t *testing.T) {
	t.Parallel()
	const uuid = "2d931510-d99f-494a-8c67-87feb05e1594"
	var m mask
	u := secretive("person-1", bcryptHash)
	m.learn(&u)
	for _, id := range []string{uuid, "t-person-1", "42"} {
		if got := m.knownID(id, "person-1"); got != id || len(m.carried) != 1 {
			t.Errorf("%q becomes %q, and %d people are left to spell", id, got, len(m.carried))
		}
	}
	for _, id := range []string{bcryptHash, totpSecret, "person-1" + totpSecret, totpSecret + uuid, "auth0|" + bcryptHash[29:]} {
		if got := m.knownID(id, "person-1"); !strings.Contains(got, canonical.Redacted) {
			t.Errorf("%q becomes %q", id, got)
		}
	}
}

// Those who were sent last are remembered, however little was said meanwhile.
func TestMaskRemembersTheLastPeople(t *testing.T) {
	t.Parallel()
	var m mask
	for i := range people + 5 {
		u := secretive("1", fmt.Sprintf("a hash of somebody %09d", i))
		u.TOTP = nil
		m.learn(&u)
	}
	for i, want := range map[int]bool{4: false, 5: true, people: true, people + 4: true} {
		text := fmt.Sprintf("a hash of somebody %09d", i)
		if _, found := m.apply(text); found != want {
			t.Errorf("%q: %v", text, found)
		}
	}
}

func BenchmarkMaskLearn(b *testing.B) {
	var m mask
	users := make([]pluginapi.User, 1000)
	for i := range users {
		users[i] = secretive("1", fmt.Sprintf("%s%031d", bcryptHash[:29], i))
	}
	for i := 0; b.Loop(); i++ {
		m.learn(&users[i%len(users)])
	}
}
