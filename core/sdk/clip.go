package sdk

import (
	"fmt"
	"unicode/utf8"
)

// Texts for people are cut where they stop being readable, far below what a
// message can hold.
const (
	maxText = 4 << 10
	// maxFields bounds the field changes of one user, in bytes of text.
	maxFields = 1 << 20
)

func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	cut := maxText
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes in all)", s[:cut], len(s))
}

// clipChange does not touch the caller's slices.
func clipChange(c Change) Change {
	c.Detail, c.Hint = clip(c.Detail), clip(c.Hint)
	losses := c.Losses
	c.Losses = nil
	for _, l := range losses {
		l.Attribute, l.Detail = clip(l.Attribute), clip(l.Detail)
		c.Losses = append(c.Losses, l)
	}
	fields, size := c.Fields, 0
	c.Fields = nil
	for i, f := range fields {
		f.Field, f.Old, f.New = clip(f.Field), clip(f.Old), clip(f.New)
		if size += len(f.Field) + len(f.Old) + len(f.New); size > maxFields {
			f = FieldChange{Field: "…", New: fmt.Sprintf("%d more fields", len(fields)-i)}
			c.Fields = append(c.Fields, f)
			break
		}
		c.Fields = append(c.Fields, f)
	}
	return c
}

// textSize estimates what c takes in a message.
func textSize(c Change) int {
	n := len(c.SourceID) + len(c.TargetID) + len(c.Detail) + len(c.Hint) + len(c.State) + len(c.Before)
	for _, name := range c.Changed {
		n += len(name)
	}
	for _, l := range c.Losses {
		n += len(l.Feature) + len(l.Code) + len(l.Attribute) + len(l.Detail)
	}
	for _, f := range c.Fields {
		n += len(f.Field) + len(f.Old) + len(f.New)
	}
	return n
}
