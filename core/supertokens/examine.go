package supertokens

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// examine reads the small tables for what an operator should know before any
// user is read.
func (s *Source) examine(ctx context.Context) error {
	for _, look := range []func(context.Context) error{s.examineApps, s.examineTenants, s.examineProviders, s.examineStaged, s.examineDashboard, s.examineRowSecurity} {
		if err := s.retry(func() error { return look(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// Findings returns what was seen about the installation as a whole, beside the
// warnings that each account carries.
func (s *Source) Findings() []Finding { return s.general.list() }

func (s *Source) examineApps(context.Context) error {
	for _, a := range s.apps {
		if a.ID != s.app {
			s.general.add(WarnOtherApps, a.ID, fmt.Sprintf("app %s has %d login methods and is not read; source.app chooses the app", a.ID, a.Users))
		}
	}
	return nil
}

// examineRowSecurity names tables of a dump that have row-level security. Without
// --enable-row-security pg_dump refuses to dump what it cannot see whole; archives do
// not tell whether it was given.
func (s *Source) examineRowSecurity(context.Context) error {
	for i := range schema {
		if r := s.layout.tables[schema[i].name]; r != nil && r.mayHideRows && schema[i].role.matters() && !s.catalog.hidesRows {
			s.general.add(WarnRowSecurity, r.qualified(), fmt.Sprintf(
				"table %s has row-level security; if the dump was made with --enable-row-security by a role that does not see every row, rows are missing", r.qualified()))
		}
	}
	return nil
}

// mayRead reports whether a table that holds nothing of an account is there to be
// read. Where an operator has kept it from this program, that is a finding.
func (s *Source) mayRead(t TableName, otherwise string) bool {
	r := s.layout.tables[t]
	if r.readable && !r.empty {
		return true
	}
	s.general.add(WarnTableNotRead, r.qualified(), fmt.Sprintf("table %s may not be read, or the dump leaves its data out; %s", r.qualified(), otherwise))
	return false
}

// examineTenants names tenants whose users live in another database: their
// configuration overrides the connection.
func (s *Source) examineTenants(ctx context.Context) error {
	r := s.layout.tables[TenantConfigs]
	if r == nil {
		return nil
	}
	return s.store.scan(ctx, r, "", []string{"tenant_id", "core_config", appColumn}, func(v [][]byte) error {
		app, own := string(v[2]), string(v[2]) == s.app
		if !own && string(v[0]) != defaultName {
			return nil // the app is reported as a whole
		}
		var config map[string]json.RawMessage
		if err := json.Unmarshal(v[1], &config); err != nil && len(v[1]) > 0 && own {
			s.general.add(WarnTenantConfig, string(v[0]), fmt.Sprintf("the configuration of tenant %s is not JSON, so it is unknown whether its users are elsewhere", v[0]))
		}
		var keys []string
		for k := range config {
			if slices.Contains(locationKeys, k) {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		switch {
		case len(keys) == 0:
		case !own:
			s.general.add(WarnAppElsewhere, app, fmt.Sprintf(
				"app %s keeps its users in another database (its configuration sets %s); read that database as a source of its own", app, strings.Join(keys, ", ")))
		default:
			s.general.add(WarnTenantElsewhere, string(v[0]), fmt.Sprintf(
				"tenant %s keeps its users in another database (its configuration sets %s); read that database as a source of its own", v[0], strings.Join(keys, ", ")))
		}
		return nil
	})
}

// locationKeys are the settings of a tenant that move its users elsewhere.
var locationKeys = []string{
	"postgresql_connection_uri", "postgresql_host", "postgresql_port", "postgresql_database_name", "postgresql_table_schema",
}

func (s *Source) examineProviders(ctx context.Context) error {
	r := s.layout.tables[ProviderClients]
	if r == nil || !s.mayRead(ProviderClients, "whether it holds client secrets is unknown") {
		return nil
	}
	return s.store.scan(ctx, r, s.app, []string{"tenant_id", "client_secret"}, func(v [][]byte) error {
		if len(v[1]) > 0 {
			s.general.add(WarnSecretsInConfig, string(v[0]), fmt.Sprintf("tenant %s has a provider's client secret in clear text; it is not exported", v[0]))
		}
		return nil
	})
}

func (s *Source) examineStaged(ctx context.Context) error {
	r := s.layout.tables[BulkImportUsers]
	if r == nil || !s.mayRead(BulkImportUsers, "whether staged users are waiting is unknown") {
		return nil
	}
	// raw_data is never read: it can hold plain-text passwords.
	return s.store.scan(ctx, r, s.app, []string{"id", "status"}, func(v [][]byte) error {
		s.general.add(WarnBulkImportPending, trimPadding(v[0]), fmt.Sprintf("staged users that are not users yet, the first in state %s", v[1]))
		return nil
	})
}

func (s *Source) examineDashboard(ctx context.Context) error {
	r := s.layout.tables[DashboardUsers]
	if r == nil || !s.mayRead(DashboardUsers, "whether the dashboard has administrators is unknown") {
		return nil
	}
	return s.store.scan(ctx, r, s.app, []string{"user_id"}, func(v [][]byte) error {
		s.general.add(WarnDashboardUsers, trimPadding(v[0]), "administrators of the SuperTokens dashboard are not end users and are not moved")
		return nil
	})
}
