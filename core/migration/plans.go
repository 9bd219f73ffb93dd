package migration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/stetl/stetl/core/engine"
)

// Plans is a saved dry run of several targets: the plan of each, by its name.
type Plans struct {
	Format  int                     `json:"format"`
	Targets map[string]*engine.Plan `json:"targets"`
}

// plansFormat is the version of the JSON form.
const plansFormat = 1

// Write writes the plans as JSON.
func (p *Plans) Write(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	return enc.Encode(p)
}

// ReadPlans reads what a dry run has saved: of one target, or of several.
func ReadPlans(raw []byte) (*engine.Plan, *Plans, error) {
	var p Plans
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, nil, fmt.Errorf("read the plan: %w", err)
	}
	if p.Targets == nil {
		one, err := engine.ReadPlan(bytes.NewReader(raw))
		return one, nil, err
	}
	if p.Format != plansFormat {
		return nil, nil, fmt.Errorf("the plan has format %d, this program writes and reads %d: make it again", p.Format, plansFormat)
	}
	return nil, &p, nil
}
