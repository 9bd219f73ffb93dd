package policy

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What is written is what is read.
func TestJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Policies{
		`{}`: {},
		`{"existing":"adopt","drift":"overwrite","canary":false,"read_back":"sample","password":"reject","long_id":"internal","collision":{"username":"link","identity":"drop"}}`: {
			Adopt: true, OverwriteDrift: true, Canary: CanaryOff, ReadBack: "sample", Password: Reject, LongID: Internal, Collision: Collision{Username: Link, Identity: Drop},
		},
		`{"canary":"required"}`:                {Canary: CanaryRequired},
		`{"gone":"delete","gone_after":"3d"}`:  {Gone: GoneDelete, GoneAfter: &Days{72 * time.Hour}},
		`{"gone":"disable","gone_after":"0s"}`: {Gone: GoneDisable, GoneAfter: &Days{}},
	} {
		var got Policies
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		back, err := json.Marshal(got)
		if diff := cmp.Diff(want, got); diff != "" || err != nil || string(back) != text {
			t.Errorf("%s comes back as %s, %v (-want +got):\n%s", text, back, err, diff)
		}
	}
	var p Policies
	if err := json.Unmarshal([]byte(`{"existing":"skip","drift":"keep","gone":"keep"}`), &p); err != nil || bool(p.Adopt) || bool(p.OverwriteDrift) || p.Gone.Follows() || p.After() != DefaultGoneAfter {
		t.Errorf("%+v, %v", p, err)
	}
	const limits = `{"updates":"2.5%","resets":7,"adoptions":0,"gone":50,"failures":3}`
	var l Limits
	if err := json.Unmarshal([]byte(limits), &l); err != nil {
		t.Fatal(err)
	}
	if back, err := json.Marshal(l); err != nil || string(back) != limits {
		t.Errorf("%s comes back as %s, %v", limits, back, err)
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		limit Limit
		most  int
		set   bool
	}{
		{Limit{}, 0, false}, {Limit{Set: true}, 0, true}, {Limit{Set: true, Count: 7}, 7, true}, {Limit{Set: true, Percent: 2.5}, 5, true},
	} {
		if most, set := tt.limit.Of(200); most != tt.most || set != tt.set {
			t.Errorf("%+v of 200 is %d, %v", tt.limit, most, set)
		}
	}
}

func TestReadBack(t *testing.T) {
	t.Parallel()
	for r, want := range map[ReadBack]int{"": 1, "all": 1, "sample": 100, "off": 0} {
		if got := r.Every(); got != want {
			t.Errorf("%q reads one of %d back, want %d", r, got, want)
		}
	}
}
