package supertokens

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// examiner looks for what an operator should know of an installation as a whole.
type examiner struct {
	*opened
	found []App
}

// all reads the small tables for what an operator should know before any
// user is read.
func (e *examiner) all(ctx context.Context) error {
	for _, look := range []func(context.Context) error{e.beside, e.tenants, e.providers, e.staged, e.dashboard, e.rowSecurity} {
		if err := e.retry(func() error { return look(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// beside names what lies beside the app that is read.
func (e *examiner) beside(context.Context) error {
	for _, r := range e.layout.copies {
		e.general.add(WarnTableCopy, r.qualified(), aCopy(r)+"; source.schema and source.table_prefix choose it all the same")
	}
	for _, a := range e.found {
		if a.ID != e.app {
			e.general.add(WarnOtherApps, a.ID, fmt.Sprintf("app %s has %d login methods and is not read; source.app chooses the app", a.ID, a.Users))
		}
	}
	return nil
}

// rowSecurity names tables of a dump that have row-level security. Without
// --enable-row-security pg_dump refuses to dump what it cannot see whole; archives do
// not tell whether it was given.
func (e *examiner) rowSecurity(context.Context) error {
	for i := range schema {
		if r := e.layout.tables[schema[i].name]; r != nil && r.mayHideRows && schema[i].role.matters() && !e.catalog.hidesRows {
			e.general.add(WarnRowSecurity, r.qualified(), fmt.Sprintf(
				"table %s has row-level security; if the dump was made with --enable-row-security by a role that does not see every row, rows are missing", r.qualified()))
		}
	}
	return nil
}

// tenants names tenants whose users live in another database: their
// configuration overrides the connection.
func (e *examiner) tenants(ctx context.Context) error {
	r := e.layout.tables[TenantConfigs]
	if r == nil {
		return nil
	}
	return e.store.scan(ctx, r, "", []string{"tenant_id", "core_config", appColumn}, func(v [][]byte) error {
		app, own := string(v[2]), string(v[2]) == e.app
		if !own && string(v[0]) != defaultName {
			return nil // the app is reported as a whole
		}
		var config map[string]json.RawMessage
		if err := json.Unmarshal(v[1], &config); err != nil && len(v[1]) > 0 && own {
			e.general.add(WarnTenantConfig, string(v[0]), fmt.Sprintf("the configuration of tenant %s is not JSON, so it is unknown whether its users are elsewhere", v[0]))
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
			e.general.add(WarnAppElsewhere, app, fmt.Sprintf(
				"app %s keeps its users in another database (its configuration sets %s); read that database as a source of its own", app, strings.Join(keys, ", ")))
		default:
			e.general.add(WarnTenantElsewhere, string(v[0]), fmt.Sprintf(
				"tenant %s keeps its users in another database (its configuration sets %s); read that database as a source of its own", v[0], strings.Join(keys, ", ")))
		}
		return nil
	})
}

// locationKeys are the settings of a tenant that move its users elsewhere.
var locationKeys = []string{
	"postgresql_connection_uri", "postgresql_host", "postgresql_port", "postgresql_database_name", "postgresql_table_schema",
	"mysql_connection_uri", "mysql_host", "mysql_port", "mysql_database_name",
}

func (e *examiner) providers(ctx context.Context) error {
	r := e.layout.tables[ProviderClients]
	if r == nil || !e.mayRead(ProviderClients, "whether it holds client secrets is unknown") {
		return nil
	}
	return e.store.scan(ctx, r, e.app, []string{"tenant_id", "client_secret"}, func(v [][]byte) error {
		if len(v[1]) > 0 {
			e.general.add(WarnSecretsInConfig, string(v[0]), fmt.Sprintf("tenant %s has a provider's client secret in clear text; it is not exported", v[0]))
		}
		return nil
	})
}

func (e *examiner) staged(ctx context.Context) error {
	r := e.layout.tables[BulkImportUsers]
	if r == nil || !e.mayRead(BulkImportUsers, "whether staged users are waiting is unknown") {
		return nil
	}
	// raw_data is never read: it can hold plain-text passwords.
	return e.store.scan(ctx, r, e.app, []string{"id", "status"}, func(v [][]byte) error {
		e.general.add(WarnBulkImportPending, trimPadding(v[0]), fmt.Sprintf("staged users that are not users yet, the first in state %s", v[1]))
		return nil
	})
}

func (e *examiner) dashboard(ctx context.Context) error {
	r := e.layout.tables[DashboardUsers]
	if r == nil || !e.mayRead(DashboardUsers, "whether the dashboard has administrators is unknown") {
		return nil
	}
	return e.store.scan(ctx, r, e.app, []string{"user_id"}, func(v [][]byte) error {
		e.general.add(WarnDashboardUsers, trimPadding(v[0]), "administrators of the SuperTokens dashboard are not end users and are not moved")
		return nil
	})
}
