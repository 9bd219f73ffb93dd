//go:build !linux

package conformance

import (
	"context"
	"errors"
	"time"

	"github.com/stetl/stetl/core/plugin"
)

const canOrphan = false

func adopted(loc plugin.Location) plugin.Location { return loc }

func orphan(context.Context, int, time.Duration) (bool, error) {
	return false, errors.ErrUnsupported
}
