package engine

import (
	"testing"

	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// A source of millions of accounts takes its time: every command reads it once, and a
// second time only for accounts that were unchanged and lose something to others.
func TestReadings(t *testing.T) {
	t.Parallel()
	link := policy.Collision{Username: policy.Link, Email: policy.Link}
	everybody := append(pair(true), people(23)[4:]...)
	for name, tt := range map[string]struct {
		set     func(*Options)
		earlier listed // what an earlier run has moved
		want    int
	}{
		"first run":                   {set: func(*Options) {}, want: 1},
		"first run, read back":        {set: func(o *Options) { o.ReadBack = 1 }, want: 1},
		"first run that links":        {set: func(o *Options) { o.ReadBack, o.Policies.Collision = 1, link }, want: 1},
		"first run with names":        {set: func(o *Options) { o.Policies.Collision.Username = policy.Suffix }, want: 1},
		"plan":                        {set: func(o *Options) { o.DryRun, o.Policies.Collision = true, link }, want: 1},
		"second run":                  {set: func(o *Options) { o.ReadBack = 1 }, earlier: everybody, want: 1},
		"second run that links":       {set: func(o *Options) { o.Policies.Collision = link }, earlier: everybody, want: 2},
		"full run that links":         {set: func(o *Options) { o.Full, o.Policies.Collision = true, link }, earlier: everybody, want: 1},
		"somebody loses a name":       {set: func(*Options) {}, earlier: everybody[2:], want: 2},
		"a part":                      {set: about(id(7)), want: 1},
		"a part that loses to others": {set: about(id(3)), want: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, dst, src := newProject(t), newIDP(), &counting{Source: everybody}
			if tt.earlier != nil {
				if _, _, err := p.do(tt.earlier, dst, tt.set); err != nil {
					t.Fatal(err)
				}
			}
			res, _, err := p.do(src, dst, tt.set)
			if err != nil || src.reads != tt.want || res.Summary.Read != len(everybody) {
				t.Errorf("%d readings, want %d: %+v, %v", src.reads, tt.want, res.Summary, err)
			}
		})
	}
	for name, command := range map[string]func(Source, Target) error{
		"check":  func(src Source, dst Target) error { _, err := Check(t.Context(), src, dst, Options{}); return err },
		"survey": func(src Source, dst Target) error { _, err := Survey(t.Context(), src, dst, Options{}); return err },
		"verify": func(src Source, dst Target) error { _, err := Verify(t.Context(), src, dst, Options{}, 1); return err },
	} {
		src := &counting{Source: everybody}
		if err := command(src, newIDP()); err != nil || src.reads != 1 {
			t.Errorf("%s: %d readings, %v", name, src.reads, err)
		}
	}
}

// An account that was unchanged and loses its name to an older one that comes later is
// found by a second reading, and what becomes of it is what a first run would do.
func TestSettledAccountThatLoses(t *testing.T) {
	t.Parallel()
	src := pair(true)
	for name, tt := range map[string]struct {
		policy policy.Collision
		want   pluginapi.Summary
	}{
		"rejected": {policy.Collision{}, pluginapi.Summary{Read: 4, Created: 1, Unchanged: 2, Rejected: 1}},
		"renamed":  {policy.Collision{Username: policy.Suffix}, pluginapi.Summary{Read: 4, Created: 1, Updated: 1, Unchanged: 2}},
		"linked":   {policy.Collision{Username: policy.Link}, pluginapi.Summary{Read: 4, Created: 1, Unchanged: 2, Skipped: 1}},
	} {
		p, dst := newProject(t), newIDP()
		set := func(o *Options) { o.Policies.Collision = tt.policy }
		if _, _, err := p.do(append(listed{src[0]}, src[2:]...), dst, set); err != nil {
			t.Fatal(err)
		}
		planned, _, err := p.do(src, dst, func(o *Options) { set(o); o.DryRun = true })
		if err != nil || planned.Summary != tt.want {
			t.Errorf("%s, planned: %+v, %v; want %+v", name, planned.Summary, err, tt.want)
		}
		res, _, err := p.do(src, dst, set)
		if err != nil || res.Summary != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", name, res.Summary, err, tt.want)
		}
	}
}
