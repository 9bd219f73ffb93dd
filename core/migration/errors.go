package migration

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/supertokens"
)

// UsageError says that what was asked for cannot be: whoever asks has to ask for
// something else.
type UsageError struct{ Err error }

// Error implements error.
func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong.
func (e UsageError) Unwrap() error { return e.Err }

// RefusedError says that the source, the target, a plugin or the journal could not be
// reached or said no.
type RefusedError struct{ Err error }

// Error implements error.
func (e RefusedError) Error() string { return e.Err.Error() }

// Unwrap returns what said no.
func (e RefusedError) Unwrap() error { return e.Err }

// IncompleteError is about a source of which something is missing.
type IncompleteError struct {
	Err  error
	Gaps []supertokens.Gap
}

// Error implements error.
func (e IncompleteError) Error() string { return e.Err.Error() }

// Unwrap returns the diagnostics, one for each code of a gap.
func (e IncompleteError) Unwrap() error { return e.Err }

// classify says whose fault an error of the engine is: what is neither this program's
// nor a stop by plan is trouble with the source or the target.
func classify(ctx context.Context, err error) error {
	switch {
	case err == nil, errors.Is(err, engine.ErrRefused), errors.Is(err, engine.ErrUnbalanced), errors.Is(err, engine.ErrLimit), errors.Is(err, engine.ErrDiffers):
		return err
	case errors.As(context.Cause(ctx), new(*journal.Error)):
		return RefusedError{errors.Join(context.Cause(ctx), err)}
	case ctx.Err() != nil:
		return errors.Join(context.Cause(ctx), err)
	default:
		return RefusedError{err}
	}
}

// pluginError gives an error of a plugin its place in the configuration.
func pluginError(cfg *config.Config, err error) error {
	e, ok := errors.AsType[*plugin.Error](err)
	if !ok {
		return err
	}
	d := e.Diagnostic()
	d.Path = cfg.Target.PluginPath()
	return cfg.Locate(diag.List{d}).Err()
}

// sourceError gives an error of the source its place in the configuration.
func sourceError(cfg *config.Config, err error) error {
	if cfg.Source.Dump != "" {
		return sourceErrorAt(cfg, pathDump, err)
	}
	return sourceErrorAt(cfg, "/source/url", err)
}

// pathDump is where a configuration names a dump.
const pathDump = "/source/dump"

// sourceErrorAt is [sourceError] for a source that the configuration names at a path. An
// error about another setting is given the place of that one.
func sourceErrorAt(cfg *config.Config, path string, err error) error {
	if e, ok := errors.AsType[*supertokens.IncompleteError](err); ok {
		return incomplete(cfg, path, e)
	}
	d := diag.Diagnostic{Code: diag.SourceUnreachable, Summary: err.Error(), Path: path}
	if path == pathDump {
		d.Code = diag.SourceDumpUnusable
	}
	if e, ok := errors.AsType[*supertokens.SettingError](err); ok {
		d.Code, d.Path = diag.ConfigInvalidValue, diag.Pointer(append([]string{"source"}, e.Setting...)...)
	}
	switch {
	case errors.Is(err, supertokens.ErrNoApp):
		d.Code = diag.SourceNoApp
		if cfg.Source.App != "" {
			d.Path = pathApp
		}
	case errors.Is(err, supertokens.ErrAmbiguous):
		d.Code = diag.SourceAmbiguous
	case errors.Is(err, supertokens.ErrNotSuperTokens):
		d.Code = diag.SourceNotSuperTokens
	case errors.Is(err, fs.ErrNotExist):
		d.Hint = "check the path; it is relative to the folder of the configuration file"
	}
	return cfg.Locate(diag.List{d}).Err()
}

const pathApp = "/source/app"

// incomplete words what is missing of a source, a diagnostic for each code.
func incomplete(cfg *config.Config, path string, e *supertokens.IncompleteError) error {
	var list diag.List
	for code, text := range e.ByCode() {
		d := diag.Diagnostic{Code: diag.Code(code), Summary: text, Path: path}
		switch { // what the configuration has chosen, and where
		case code == supertokens.GapMode && cfg.Source.MigrationMode != "":
			d.Path = "/source/migration_mode"
		case code == supertokens.GapEmptyApp && cfg.Source.App != "":
			d.Path = pathApp
		}
		if info, known := diag.Lookup(d.Code); known {
			d.Hint = info.Remedy
			if e.Readable() {
				d.Hint += fmt.Sprintf("; --accept-incomplete %s reads it all the same", code)
			}
		}
		list.Add(d)
	}
	return IncompleteError{cfg.Locate(list).Err(), e.Gaps}
}
