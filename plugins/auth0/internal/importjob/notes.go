package importjob

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/stetl/stetl/core/sdk"
)

// OpenJobs is the key of the plugin's journal that has the jobs that are not over.
const OpenJobs = "jobs"

// openJob is a job that may be running. ID is empty while the answer to its request
// is awaited.
type openJob struct {
	ExternalID string `json:"external_id"`
	ID         string `json:"id,omitempty"`
	Users      int    `json:"users"`
	Sent       string `json:"sent"`
	// Bodies are fingerprints of what was sent, one after the other: whoever is found in
	// the tenant after a crash, and would be sent the same again, has all of it.
	Bodies string `json:"bodies,omitempty"`
}

// notes keep the jobs that are not over, and what came of those that are.
type notes struct {
	env sdk.Env
	mu  sync.Mutex
}

func (n *notes) list() (jobs []openJob) {
	if n.env.Journal == nil {
		return nil
	}
	if raw, ok := n.env.Journal.Get(OpenJobs); ok {
		_ = json.Unmarshal(raw, &jobs) // our own text
	}
	return jobs
}

// change edits the list of open jobs and makes it durable.
func (n *notes) change(ctx context.Context, edit func([]openJob) []openJob) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.env.Journal == nil {
		return nil
	}
	raw, err := json.Marshal(edit(n.list()))
	if err != nil {
		return err
	}
	return n.env.Journal.Put(ctx, OpenJobs, raw)
}

func (n *notes) forget(ctx context.Context, externalID string) error {
	return n.change(ctx, func(jobs []openJob) []openJob {
		return slices.DeleteFunc(jobs, func(j openJob) bool { return j.ExternalID == externalID })
	})
}

// evidence keeps what Auth0 deletes after a day.
func (n *notes) evidence(ctx context.Context, id string, what any) error {
	if n.env.Journal == nil || id == "" {
		return nil
	}
	raw, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return n.env.Journal.Put(ctx, "job:"+id, raw)
}

// print is the fingerprint of one body, of the same length for all.
func (n *notes) print(body []byte) string {
	return strings.TrimPrefix(n.env.Fingerprints.Of(string(body)), "#")
}

func (n *notes) prints(load []*Item) string {
	var b strings.Builder
	for _, p := range load {
		b.WriteString(n.print(p.Body))
	}
	return b.String()
}

// sent are the fingerprints of everything that is on the notes.
func (n *notes) sent() map[string]bool {
	out := map[string]bool{}
	size := len(n.print(nil))
	for _, j := range n.list() {
		for part := range slices.Chunk([]byte(j.Bodies), size) {
			out[string(part)] = true
		}
	}
	return out
}
