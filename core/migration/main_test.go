//go:build unix

package migration_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/folder"
	"github.com/stetl/stetl/internal/filetarget"
)

// serve is the first argument that makes the test binary a plugin, whose name follows.
// It is one as well when it is called like the executable of one.
const serve = "plugin-serve"

// bundled are the plugins of the test binary, as any program can have its own: it
// starts itself again to serve them.
var bundled = plugin.Bundled{"file": {serve, "file"}, "export": {serve, "export"}, "door": {serve, "door"}, "unfinished": {serve, "unfinished"}, "silent": {serve, "silent"}, "finder": {serve, "finder"}}

func TestMain(m *testing.M) {
	name := plugin.NameOf(os.Args[0])
	if len(os.Args) == 3 && os.Args[1] == serve {
		name = os.Args[2]
	}
	switch name {
	case "file":
		sdk.Serve(filetarget.Plugin())
	case "silent":
		sdk.Serve(sdk.Plugin[struct{}]{
			Name: "silent", Version: "1.0.0",
			New: func(context.Context, struct{}, sdk.Env) (sdk.Target, error) { return silent{}, nil },
		})
	case "unfinished":
		p := filetarget.Plugin()
		p.Name, p.Version = "unfinished", "1.0.0"
		open := p.New
		p.New = func(ctx context.Context, c filetarget.Config, env sdk.Env) (sdk.Target, error) {
			t, err := open(ctx, c, env)
			if err != nil {
				return nil, err
			}
			return unfinished{t.(*filetarget.Target)}, nil
		}
		sdk.Serve(p)
	case "finder":
		p := filetarget.Plugin()
		p.Name = "finder"
		open := p.New
		p.New = func(ctx context.Context, c filetarget.Config, env sdk.Env) (sdk.Target, error) {
			t, err := open(ctx, c, env)
			if err != nil {
				return nil, err
			}
			return finder{t.(*filetarget.Target), filepath.Join(c.Dir, "accounts")}, nil
		}
		sdk.Serve(p)
	case "export":
		sdk.Serve(exporter())
	case "door":
		sdk.Serve(sdk.Plugin[struct{}]{
			Name: "door", Version: "1.0.0",
			New: func(context.Context, struct{}, sdk.Env) (sdk.Target, error) { return door{}, nil },
		})
	default:
		m.Run()
	}
}

// exportConfig is the configuration of the plugin export.
type exportConfig struct {
	Out string `json:"out" jsonschema:"folder to write"`
}

// exporter is a plugin that writes the accounts as files, all of them in every run.
func exporter() sdk.Plugin[exportConfig] {
	return sdk.Plugin[exportConfig]{
		Name: "export", Version: "1.0.0",
		Capabilities: sdk.Capabilities{
			Whole: true, Hashes: []sdk.HashSupport{{Scheme: sdk.Bcrypt}}, Carries: []sdk.Feature{sdk.CarriesID, sdk.CarriesNames}, MaxIDLength: 100,
			Batch: sdk.BatchLimits{InFlight: 1},
		},
		New: func(_ context.Context, c exportConfig, _ sdk.Env) (sdk.Target, error) {
			return &export{folder: folder.Folder{Dir: c.Out, Users: regexp.MustCompile(`-.*\.json$`), Unwritable: "export.unwritable", ForeignFiles: "export.foreign_files"}}, nil
		},
	}
}

// export is the target of one run: a folder with a file for each account.
type export struct {
	folder folder.Folder
	users  int
}

// Plan implements [sdk.Planner]: a folder that is written as a whole has nobody yet.
func (e *export) Plan(_ context.Context, users []sdk.User, out sdk.Changes) error {
	for i := range users {
		out.Report(sdk.Change{Outcome: sdk.Outcome{SourceID: users[i].SourceID, Action: sdk.Created}})
	}
	return nil
}

// Load implements [sdk.Target].
func (e *export) Load(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
	if err := e.folder.Start(); err != nil {
		return err
	}
	for i := range users {
		u := &users[i]
		account, err := json.Marshal(map[string]string{"id": u.ID, "username": u.Username})
		if err == nil {
			err = e.folder.Write(filepath.Base(u.ID)+".json", account, 0o600)
		}
		if err != nil {
			return err
		}
		e.users++
		out.Report(sdk.Outcome{SourceID: u.SourceID, TargetID: u.ID, Action: sdk.Created})
	}
	return nil
}

// Finish implements [sdk.Finisher].
func (e *export) Finish(context.Context) error { return e.folder.Commit(e.users) }

// Close implements [sdk.Closer].
func (e *export) Close(context.Context) error { return e.folder.Discard() }

// silent is a target that never answers.
type silent struct{}

// Load implements [sdk.Target].
func (silent) Load(context.Context, []sdk.User, sdk.Outcomes) error { select {} }

// unfinished is a target that writes accounts and cannot complete the run.
type unfinished struct{ *filetarget.Target }

// Finish implements [sdk.Finisher].
func (unfinished) Finish(context.Context) error { return errors.New("the disk is full") }

// Close implements [sdk.Closer].
func (unfinished) Close(context.Context) error { return errors.New("the connection is gone") }

// finder is a target that finds accounts of which nobody knows whether they are there.
type finder struct {
	*filetarget.Target
	accounts string
}

// UndoInDoubt implements [sdk.DoubtUndoer].
func (f finder) UndoInDoubt(_ context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	files, err := accountFiles(f.accounts)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		o := sdk.Outcome{SourceID: a.SourceID, Action: sdk.Unchanged}
		if file := files[a.ID]; file != "" {
			o.Action = sdk.Deleted
			if err := os.Remove(file); err != nil {
				return err
			}
		}
		out.Report(o)
	}
	return nil
}

// accountFiles are the files of accounts, by the ids that the source gave.
func accountFiles(dir string) (map[string]string, error) {
	files := map[string]string{}
	all, err := filepath.Glob(filepath.Join(dir, "*.json"))
	for _, file := range all {
		var account struct{ Key string }
		raw, readErr := os.ReadFile(file)
		if err = errors.Join(err, readErr, json.Unmarshal(raw, &account)); err != nil {
			return nil, err
		}
		files[account.Key] = file
	}
	return files, err
}

// door is a target that takes new passwords, and whose process ends over one.
type door struct{}

// deadly is the account whose password ends the process.
const deadly = "deadly"

// Load implements [sdk.Target].
func (door) Load(context.Context, []sdk.User, sdk.Outcomes) error { return nil }

// SetPassword implements [sdk.PasswordSetter].
func (door) SetPassword(_ context.Context, c sdk.PasswordChange) error {
	if c.TargetID == deadly {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return nil
}
