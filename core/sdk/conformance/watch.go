package conformance

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/wire"
	"github.com/stetl/stetl/core/pluginapi"
)

// watch looks at everything that plugins say during all rules.
type watch struct {
	logger *slog.Logger

	mu      sync.Mutex
	secrets []string
	// Findings by rule.
	stdout, bugs, environment, leaks, stuck, notOwn, losses, bounds []string
	// codes are those that were seen, with the place of the first time.
	codes map[diag.Code]string
}

func newWatch(log *slog.Logger) *watch {
	w := &watch{codes: map[diag.Code]string{}}
	if log == nil {
		log = discard()
	}
	w.logger = slog.New(&listener{watch: w, next: log.Handler()})
	return w
}

// secret is a text that must not turn up anywhere.
func (w *watch) secret(text string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets = append(w.secrets, text)
	return text
}

// see examines a text that comes from the plugin.
func (w *watch) see(where, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.find(where, text)
}

// pulse examines what a plugin says of how it gets on. The host has masked it, and noted that.
func (w *watch) pulse(p pluginapi.Pulse) { w.see("a pulse", p.Reason) }

func (w *watch) find(where, text string) {
	if strings.Contains(text, wire.CookieValue) || strings.Contains(text, "BEGIN CERTIFICATE") {
		w.environment = append(w.environment, where+" shows variables of the environment")
	}
	for _, secret := range w.secrets {
		if strings.Contains(text, secret) {
			w.leaks = append(w.leaks, where+" holds the password hash, password or authenticator secret of a user, or a secret of the configuration")
			return
		}
	}
}

// code notes a code that the plugin gives.
func (w *watch) code(where string, c diag.Code) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, seen := w.codes[c]; !seen && c != "" {
		w.codes[c] = where
	}
}

func (w *watch) outcomes(all []pluginapi.Outcome) {
	for _, o := range all {
		w.code("an outcome", o.Code)
		for _, l := range o.Losses {
			w.code("a loss", l.Code)
			w.see("a loss of "+o.SourceID, l.Attribute+"\n"+l.Detail)
			if !l.Feature.Part() {
				w.mu.Lock()
				w.losses = append(w.losses, fmt.Sprintf("an account has lost something of the feature %q, which there is not", l.Feature))
				w.mu.Unlock()
			}
		}
		w.see("the outcome of "+o.SourceID, strings.Join(slices.Concat([]string{o.TargetID, o.Detail, o.Hint, string(o.Code), string(o.State)}, o.Changed), "\n"))
	}
}

func (w *watch) changes(all []pluginapi.Change) {
	for _, c := range all {
		w.outcomes([]pluginapi.Outcome{c.Outcome})
		for _, f := range c.Fields {
			w.see(fmt.Sprintf("the change of %s of %s", f.Field, c.SourceID), f.Old+"\n"+f.New)
		}
	}
}

func (w *watch) diagnostics(list diag.List) {
	for _, d := range list {
		w.code("a diagnostic", d.Code)
		w.see("a diagnostic", strings.Join([]string{d.Summary, d.Detail, d.Hint}, "\n"))
	}
}

// ended notes how the process of a plugin ended.
func (w *watch) ended(i *instance) {
	if i.client == nil || i.expectDeath || !i.client.Forced() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stuck = append(w.stuck, "the process was still there after Shutdown and had to be killed")
}

// listener is a log handler that looks at what passes.
type listener struct {
	watch *watch
	next  slog.Handler
	attrs []slog.Attr
}

// Enabled is always true, so that plugins say all they have to say.
func (l *listener) Enabled(context.Context, slog.Level) bool { return true }

// Handle looks at r and passes it on.
func (l *listener) Handle(ctx context.Context, r slog.Record) error {
	text := []string{r.Message}
	var stream, code string
	look := func(a slog.Attr) bool {
		switch a.Key {
		case "stream":
			stream = a.Value.String()
		case "code":
			code = a.Value.String()
		}
		text = append(text, a.Value.String())
		return true
	}
	for _, a := range l.attrs {
		look(a)
	}
	r.Attrs(look)
	w := l.watch
	w.mu.Lock()
	if stream == "stdout" {
		w.stdout = append(w.stdout, fmt.Sprintf("it wrote %q to stdout", shorten(r.Message)))
	}
	// That a user has no outcome is for the rules that miss it.
	missing := strings.HasSuffix(r.Message, " for every user")
	switch {
	case strings.Contains(r.Message, "declares a code"):
		w.notOwn = append(w.notOwn, strings.Join(text, " "))
	case strings.Contains(r.Message, " losses of an account") || strings.Contains(r.Message, " a loss without"):
		w.losses = append(w.losses, r.Message)
	case strings.HasSuffix(r.Message, "what it says is masked"):
		w.leaks = append(w.leaks, "an outcome, a plan, a diagnostic or its log holds the password hash, password or authenticator secret of a user, or a secret of the configuration")
	case strings.Contains(r.Message, ": a state of more than ") || strings.Contains(r.Message, ": a pre-image of more than "):
		w.bounds = append(w.bounds, r.Message)
	case !missing && (code == string(diag.PluginBrokeProtocol) || strings.HasPrefix(r.Message, "bug in the plugin: ")):
		w.bugs = append(w.bugs, r.Message)
	}
	w.find("its log", strings.Join(text, "\n"))
	w.mu.Unlock()
	if !l.next.Enabled(ctx, r.Level) {
		return nil
	}
	return l.next.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (l *listener) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &listener{watch: l.watch, next: l.next.WithAttrs(attrs), attrs: slices.Concat(l.attrs, attrs)}
}

// WithGroup implements [slog.Handler].
func (l *listener) WithGroup(name string) slog.Handler {
	return &listener{watch: l.watch, next: l.next.WithGroup(name), attrs: l.attrs}
}

func shorten(text string) string {
	if runes := []rune(text); len(runes) > 100 {
		return string(runes[:100]) + "…"
	}
	return text
}

// watchRules are judged at the end, over all that was said.
func watchRules() []Rule {
	judge := func(pick func(*watch) []string) func(context.Context, *probe) error {
		return func(_ context.Context, p *probe) error {
			p.watch.mu.Lock()
			defer p.watch.mu.Unlock()
			for _, found := range slices.Compact(slices.Clone(pick(p.watch))) {
				p.fail("%s", found)
			}
			return nil
		}
	}
	return []Rule{
		{
			Name: "answers", Promise: "no user gets two outcomes, nobody gets one who was not asked about, and every refusal has a code",
			try: judge(func(w *watch) []string { return w.bugs }),
		},
		{
			Name: "codes", Promise: "every code is one that all plugins share, or one of the plugin's own that Describe explains",
			unless: func(k *kit) string {
				if k.info.Minor == 0 {
					return "it speaks minor version 0 of the protocol, which has no place for codes"
				}
				return ""
			},
			try: tryCodes,
		},
		{
			Name: "losses", Promise: "a loss of a part of an account has a feature and a code, and the account is there",
			try: judge(func(w *watch) []string { return w.losses }),
		},
		{
			Name: "bounds", Promise: "a state has at most 4 KiB, and a pre-image at most 8 MiB",
			try: judge(func(w *watch) []string { return w.bounds }),
		},
		{
			Name: "stdout", Promise: "stdout carries the handshake and nothing else",
			unless: onlyProcesses, try: judge(func(w *watch) []string { return w.stdout }),
		},
		{
			Name: "environment", Promise: "variables of the environment are not shown",
			unless: onlyProcesses, try: judge(func(w *watch) []string { return w.environment }),
		},
		{
			Name: "secrets", Promise: "password hashes, passwords, authenticator secrets and secrets of the configuration are in no log, outcome, plan, pulse or saved value",
			try: judge(func(w *watch) []string { return w.leaks }),
		},
		{
			Name: "exit", Promise: "the process ends after Shutdown",
			unless: onlyProcesses, try: judge(func(w *watch) []string { return w.stuck }),
		},
	}
}

func tryCodes(_ context.Context, p *probe) error {
	p.watch.mu.Lock()
	defer p.watch.mu.Unlock()
	for _, found := range slices.Compact(slices.Clone(p.watch.notOwn)) {
		p.fail("%s", found)
	}
	for _, c := range slices.Sorted(maps.Keys(p.watch.codes)) {
		if _, known := p.info.Codes.Lookup(c); !known {
			p.fail("%s has the code %s, which Describe does not explain", p.watch.codes[c], c)
		}
	}
	return nil
}

func onlyProcesses(k *kit) string {
	if k.suite.Start.process {
		return ""
	}
	return "it runs in the process of the test; try the executable too"
}
