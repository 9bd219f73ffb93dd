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

// readsNew reports whether a core in this mode reads the new tables.
func readsNew(mode string) bool { return mode == "MIGRATED" || mode == "DUAL_WRITE_READ_NEW" }

// chooseTenants decides which of core 12's two places holds the tenant
// membership. The core knows it from its migration_mode, which usually is not
// in the database; what the core itself allows in each mode is.
func (s *Source) chooseTenants(ctx context.Context, told string) error {
	mode, from := strings.ToUpper(told), "source.migration_mode"
	if !s.layout.Generation.tenantsMigrate() {
		if readsNew(mode) {
			return s.refuse([]Gap{{Code: GapMode, Table: RecipeUserTenants, Detail: fmt.Sprintf(
				"%s is %s, and %s has no filled table %s, from which a core in this mode reads the tenants; leave the setting out, or dump the whole schema", from, mode, s.catalog.where, s.layout.called(RecipeUserTenants))}})
		}
		return nil
	}
	if mode == "" {
		from = fmt.Sprintf("migration_mode in table %s", s.layout.called(TenantConfigs))
		err := s.again(func() (err error) { mode, err = s.storedMode(ctx); return err })
		if err != nil {
			return err
		}
	}
	e, err := s.compareMembership(ctx)
	if err != nil {
		return err
	}
	if infos := s.layout.tables[RecipeUserAccountInfos]; infos != nil && infos.readable && !infos.empty && e.new == 0 && e.old > 0 {
		err := s.again(func() (err error) {
			n, err := s.store.countRows(ctx, infos, s.app)
			e.copied = n > 0
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := s.refuse(e.contradictions(s, mode, from)); err != nil {
		return err
	}
	switch {
	case s.layout.tables[UserIndex] == nil:
		s.assembler.newTenants = true
	case mode != "":
		s.assembler.newTenants = readsNew(mode)
	case e.new > 0 && e.undated == 0 && e.onlyOld+e.onlyNew > 0:
		// With every row dated, only MIGRATED lets the two places drift.
		s.assembler.newTenants = true
	}
	if e.new > 0 && e.onlyOld+e.onlyNew > 0 {
		used := UserIndex
		if s.assembler.newTenants {
			used = RecipeUserTenants
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

// contradictions finds a mode, or a missing table, that cannot be true of what the
// tables hold.
func (e *membershipEvidence) contradictions(s *Source, mode, from string) []Gap {
	figures := fmt.Sprintf("%d memberships in the old tables, %d in the new ones; %d only old, %d only new, %d users that no core 12 has dated",
		e.old, e.new, e.onlyOld, e.onlyNew, e.undated)
	var wrong bool
	if e.new == 0 && e.copied {
		return []Gap{{Code: GapRows, Table: RecipeUserTenants, Detail: fmt.Sprintf(
			"table %s of %s has no row, while table %s, which cores fill together with it, has some (%s); restore it, or dump the whole schema",
			s.layout.called(RecipeUserTenants), s.catalog.where, s.layout.called(RecipeUserAccountInfos), figures)}}
	}
	switch {
	case s.layout.tables[UserIndex] == nil:
		if e.undated == 0 && (e.logins == 0 || e.new > 0) {
			return nil
		}
		return []Gap{{Code: GapTable, Table: UserIndex, Detail: s.layout.missing(s.catalog, specOf(UserIndex),
			"only an installation that has been migrated whole does without it, and this one has not ("+figures+")")}}
	case readsNew(mode) && e.new == 0 && e.old > 0: // nobody could sign in
		wrong = true
	case mode == "MIGRATED": // the core takes this step only when every user is dated
		wrong = e.undated > 0
	case mode == "DUAL_WRITE_READ_NEW": // whatever is in the old place is in the new one as well
		wrong = e.onlyOld > e.undatedTenants
	case mode != "": // whatever is in the new place is in the old one as well
		wrong = e.onlyNew > 0
	}
	if !wrong {
		return nil
	}
	return []Gap{{Code: GapMode, Detail: fmt.Sprintf("%s says %s, and the tables of %s say otherwise: %s. Leave the setting out to have it inferred, or say what it is", from, mode, s.catalog.where, figures)}}
}

// membershipEvidence counts what the two places say.
type membershipEvidence struct {
	old, new, onlyOld, onlyNew, logins int
	// copied says that the other table which core 12 fills with memberships has rows.
	copied bool
	// undatedTenants counts the old memberships of users that are not dated.
	undatedTenants int
	// undated counts spine rows with a login that the backfill has not reached;
	// the core does not finish the migration while there is one.
	undated int
}

func (s *Source) compareMembership(ctx context.Context) (membershipEvidence, error) {
	var e membershipEvidence
	readers := s.layout.readers(func(t *tableSpec) bool { return t.role.saysWhere() })
	var mu sync.Mutex // ranges are joined in parallel
	err := s.eachRange(ctx, readers, func(rr *rangeRows, _ []Orphan) Batch {
		mu.Lock()
		defer mu.Unlock()
		for _, u := range rr.users {
			e.count(u)
		}
		return Batch{}
	}, func(Batch) error { return nil })
	return e, err
}

func (e *membershipEvidence) count(u *userRows) {
	e.new += len(u.newTenants)
	e.old += len(u.oldTenants)
	e.logins += len(u.logins)
	if u.undated && len(u.logins) > 0 {
		e.undated++
		e.undatedTenants += len(u.oldTenants)
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
	r := s.layout.tables[TenantConfigs]
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
