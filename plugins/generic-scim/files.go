package scim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/folder"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

const (
	usersName       = "users.ndjson"
	membershipsName = "memberships.ndjson"
)

// files writes a folder: bulk-N.json, each the body of one request to /Bulk;
// users.ndjson, one user a line; and memberships.ndjson, one pair of group and
// externalId a line, for groups take ids that only the server gives.
type files struct {
	*folder.Target[*desired]
	stated
	config Config
	mapper mapper

	users   int
	lines   *folder.File
	members *folder.File
	bulk    *folder.File
	inBulk  int
	bulks   int
}

var ourNames = regexp.MustCompile(`^(bulk-[0-9]+\.json|users\.ndjson|memberships\.ndjson)$`)

func newFiles(c Config) *files {
	t := &files{stated: stated{signIns(c)}, config: c, mapper: mapper{config: c, extension: c.Extension.Use != never, groups: true}}
	t.Target = folder.NewTarget(folder.Folder{Dir: c.Out, Users: ourNames, Unwritable: codeOutUnwritable, ForeignFiles: codeOutForeignFiles}, t)
	return t
}

// Capabilities implements [sdk.Capable].
func (t *files) Capabilities() sdk.Capabilities { return capabilities(t.config) }

// Check implements [sdk.Checker].
func (t *files) Check(context.Context, sdk.Needs) sdk.Diagnostics {
	return append(t.Folder.Check(), passwordNotes(t.config)...)
}

// Decide implements [folder.Writer].
func (t *files) Decide(u *sdk.User, _ *reconcile.Claims) (*desired, sdk.Outcome) {
	d, rejected := t.mapper.user(u)
	if rejected != nil {
		return nil, *rejected
	}
	return d, sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created, Detail: d.note(), Losses: d.placeless()}
}

// Write implements [folder.Writer].
func (t *files) Write(_ *sdk.User, d *desired, _ sdk.Outcome) error {
	if d == nil {
		return nil
	}
	body, err := d.encode()
	if err != nil {
		return err
	}
	t.users++
	if t.config.Format != formatBulk {
		if err := t.line(&t.lines, usersName, body); err != nil {
			return err
		}
	}
	for _, group := range d.groups {
		pair, err := marshal(map[string]string{"group": group, "externalId": d.body.text("externalId")})
		if err != nil {
			return err
		}
		if err := t.line(&t.members, membershipsName, pair); err != nil {
			return err
		}
	}
	if t.config.Format == formatNDJS {
		return nil
	}
	return t.operation(body)
}

func (t *files) line(f **folder.File, name string, b []byte) (err error) {
	if *f == nil {
		if *f, err = t.Folder.Create(name); err != nil {
			return err
		}
	}
	_, err = (*f).Write(append(b, '\n'))
	return err
}

// operation adds a POST to the Bulk request that is being written.
func (t *files) operation(body json.RawMessage) (err error) {
	separator := ",\n"
	if t.bulk == nil {
		t.bulks++
		if t.bulk, err = t.Folder.Create(fmt.Sprintf("bulk-%05d.json", t.bulks)); err != nil {
			return err
		}
		separator = `{"schemas":["` + messageBulk + `"],"Operations":[` + "\n"
	}
	op, err := marshal(bulkOperation{Method: "POST", Path: "/Users", BulkID: fmt.Sprintf("u%09d", t.users), Data: body})
	if err != nil {
		return err
	}
	if _, err := t.bulk.Write(slices.Concat([]byte(separator), op)); err != nil {
		return err
	}
	if t.inBulk++; t.inBulk < t.config.BulkSize {
		return nil
	}
	return t.endBulk()
}

func (t *files) endBulk() error {
	f := t.bulk
	t.bulk, t.inBulk = nil, 0
	if f == nil {
		return nil
	}
	_, err := f.WriteString("\n]}\n")
	return errors.Join(err, f.Close())
}

// Complete implements [folder.Writer].
func (t *files) Complete() error {
	err := t.endBulk()
	for _, f := range []*folder.File{t.lines, t.members} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// marshal encodes without the escapes that only HTML needs.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
