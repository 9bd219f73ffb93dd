package supertokens

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// migrationModes lists the values of core 12's migration_mode, in the order in
// which an installation goes through them.
func migrationModes() []string {
	return []string{"LEGACY", "DUAL_WRITE_READ_OLD", "DUAL_WRITE_READ_NEW", "MIGRATED"}
}

// chooseTenants decides which of core 12's two places holds the tenant
// membership. The core knows it from its migration_mode, which usually is not
// in the database; what the core itself allows in each mode is.
func (s *Source) chooseTenants(ctx context.Context, told string) error {
	if s.layout.Generation != G5 && s.layout.Generation != G5p {
		return nil
	}
	mode := strings.ToUpper(told)
	if mode == "" {
		err := s.again(func() (err error) { mode, err = s.storedMode(ctx); return err })
		if err != nil {
			return err
		}
	}
	if s.layout.tables[tUserIndex] == nil {
		s.assembler.newTenants = true
		return nil
	}
	e, err := s.compareMembership(ctx)
	if err != nil {
		return err
	}
	switch {
	case mode == "MIGRATED" || mode == "DUAL_WRITE_READ_NEW":
		s.assembler.newTenants = true
	case mode != "":
	case e.new > 0 && e.undated == 0 && e.onlyOld+e.onlyNew > 0:
		// With every row dated, only MIGRATED lets the two places drift.
		s.assembler.newTenants = true
	}
	if e.new > 0 && e.onlyOld+e.onlyNew > 0 {
		used := tUserIndex
		if s.assembler.newTenants {
			used = tRecipeUserTenants
		}
		because := "inferred"
		if mode != "" {
			because = "migration_mode " + mode
		}
		s.general.add(WarnTenantsDiffer, s.app, fmt.Sprintf(
			"memberships only in the old tables: %d, only in the new: %d, users not backfilled: %d; read from %s (%s)",
			e.onlyOld, e.onlyNew, e.undated, used, because))
	}
	return nil
}

// evidence counts what the two places say.
type evidence struct {
	new, onlyOld, onlyNew int
	// undated counts spine rows with a login that the backfill has not reached;
	// the core does not finish the migration while there is one.
	undated int
}

func (s *Source) compareMembership(ctx context.Context) (evidence, error) {
	var e evidence
	specs := s.layout.specs(func(t table) bool { return slices.Contains(membershipTables, t) })
	var mu sync.Mutex // ranges are joined in parallel
	err := s.eachRange(ctx, specs, func(rr *rangeRows, _ []Orphan) Batch {
		mu.Lock()
		defer mu.Unlock()
		for _, u := range rr.users {
			e.count(u)
		}
		return Batch{}
	}, func(Batch) error { return nil })
	return e, err
}

func (e *evidence) count(u *userRows) {
	e.new += len(u.newTenants)
	if u.undated && len(u.logins) > 0 {
		e.undated++
	}
	for _, t := range u.oldTenants {
		if !slices.Contains(u.newTenants, t) {
			e.onlyOld++
		}
	}
	slices.Sort(u.newTenants) // a third-party login has two rows per tenant
	for _, t := range slices.Compact(u.newTenants) {
		if !slices.Contains(u.oldTenants, t) {
			e.onlyNew++
		}
	}
}

// storedMode reads migration_mode from the app's own configuration, where a
// deployment with several connection URI domains keeps it.
func (s *Source) storedMode(ctx context.Context) (string, error) {
	r := s.layout.tables[tTenantConfigs]
	if r == nil {
		return "", nil
	}
	mode := ""
	err := s.store.scan(ctx, r, s.app, []string{"tenant_id", "core_config"}, func(v [][]byte) error {
		var config struct {
			Mode string `json:"migration_mode"`
		}
		_ = json.Unmarshal(v[1], &config) // the survey reports what is not JSON
		stored := strings.ToUpper(config.Mode)
		if slices.Contains(migrationModes(), stored) && (mode == "" || string(v[0]) == defaultName) {
			mode = stored
		}
		return nil
	})
	return mode, err
}
