package sqltarget

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
	"github.com/google/uuid"

	"github.com/stetl/stetl/core/sdk"
)

// What tables have rows for.
const (
	perAccount       = "account"
	perLogin         = "login"
	perIdentity      = "identity"
	perPassword      = "password"
	perPasskey       = "passkey"
	perAuthenticator = "authenticator"
	perRole          = "role"
	perTenant        = "tenant"
)

// item is what a row is for: a part of an account, or nothing but the account itself.
type item struct {
	user   *sdk.User
	fields map[string]any // of the part, by the name without what is before the dot
	now    time.Time
}

// items are what a user has of that kind.
func items(u *sdk.User, per string, now time.Time) []item {
	one := func(fields map[string]any) item { return item{user: u, fields: fields, now: now} }
	var out []item
	switch per {
	case perAccount:
		out = append(out, one(nil))
	case perPassword:
		if hash := u.Password.Encode(); hash != "" {
			out = append(out, one(map[string]any{"hash": hash, "scheme": string(u.Password.Scheme)}))
		}
	case perIdentity:
		for _, i := range u.Identities {
			out = append(out, one(map[string]any{"provider": i.Provider, "subject": i.Subject, "name": i.Name}))
		}
	case perLogin:
		if hash := u.Password.Encode(); hash != "" {
			out = append(out, one(map[string]any{"kind": "password", "provider": "", "subject": u.Email, "hash": hash}))
		}
		for _, i := range u.Identities {
			out = append(out, one(map[string]any{"kind": "social", "provider": i.Provider, "subject": i.Subject, "hash": ""}))
		}
	case perPasskey:
		for i := range u.Passkeys {
			if fields := passkeyFields(&u.Passkeys[i]); fields != nil {
				out = append(out, one(fields))
			}
		}
	case perAuthenticator:
		for i := range u.TOTP {
			d := &u.TOTP[i]
			out = append(out, one(map[string]any{
				"name": d.Name, "secret": d.Secret.Reveal(), "period": int64(d.Period / time.Second), "skew": int64(d.Skew), "created": moment(d.Created),
			}))
		}
	case perRole:
		seen := map[string]bool{}
		for _, tenant := range sortedKeys(u.Roles) {
			for _, role := range u.Roles[tenant] {
				out = append(out, one(map[string]any{"name": role, "tenant": tenant, "first": !seen[role]}))
				seen[role] = true
			}
		}
	case perTenant:
		for _, tenant := range u.Tenants {
			out = append(out, one(map[string]any{"id": tenant}))
		}
	}
	return out
}

// passkeyFields takes the attested credential data of a passkey apart (WebAuthn, section
// 6.5.2); nil where it is none.
func passkeyFields(k *sdk.Passkey) map[string]any {
	const fixed = 16 + 2
	if len(k.Attested) < fixed {
		return nil
	}
	n := int(binary.BigEndian.Uint16(k.Attested[16:fixed]))
	if len(k.Attested) <= fixed+n {
		return nil
	}
	transports := k.Transports
	if transports == nil {
		transports = []string{}
	}
	aaguid, _ := uuid.FromBytes(k.Attested[:16]) // 16 bytes
	return map[string]any{
		"id": k.ID, "rp": k.RelyingParty, "name": k.Name, "counter": k.Counter, "transports": transports, "created": moment(k.Created), "aaguid": aaguid.String(),
		"public_key":     base64.StdEncoding.EncodeToString(k.Attested[fixed+n:]),
		"public_key_url": base64.RawURLEncoding.EncodeToString(k.Attested[fixed+n:]),
		"user_handle":    base64.RawURLEncoding.EncodeToString(k.UserHandle),
	}
}

func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC()
}

func flag(b *bool) any {
	if b == nil {
		return nil
	}
	return *b
}

// field is a field of an account.
type field struct {
	feature sdk.Feature
	typ     *cel.Type
	of      func(*item) any
}

// accountFields are those that mapping rules know too, by the same names.
var accountFields = map[string]field{
	"source_id":      {"", cel.StringType, func(i *item) any { return i.user.SourceID }},
	"id":             {sdk.CarriesID, cel.StringType, func(i *item) any { return i.user.ID }},
	"username":       {"", cel.StringType, func(i *item) any { return i.user.Username }},
	"email":          {"", cel.StringType, func(i *item) any { return i.user.Email }},
	"phone":          {sdk.CarriesPhone, cel.StringType, func(i *item) any { return i.user.Phone }},
	"given_name":     {sdk.CarriesNames, cel.StringType, func(i *item) any { return i.user.GivenName }},
	"family_name":    {sdk.CarriesNames, cel.StringType, func(i *item) any { return i.user.FamilyName }},
	"enabled":        {"", cel.BoolType, func(i *item) any { return i.user.Enabled }},
	"email_verified": {sdk.CarriesEmailVerified, cel.DynType, func(i *item) any { return flag(i.user.EmailVerified) }},
	"phone_verified": {sdk.CarriesPhone, cel.DynType, func(i *item) any { return flag(i.user.PhoneVerified) }},
	"created":        {sdk.CarriesCreated, cel.DynType, func(i *item) any { return moment(i.user.Created) }},
	"metadata":       {sdk.CarriesMetadata, cel.MapType(cel.StringType, cel.DynType), metadata},
	"tenants":        {sdk.CarriesTenants, cel.ListType(cel.StringType), func(i *item) any { return slices.Clone(i.user.Tenants) }},
	"roles":          {sdk.CarriesRoles, cel.MapType(cel.StringType, cel.ListType(cel.StringType)), func(i *item) any { return i.user.Roles }},
	"password_hash":  {"", cel.StringType, func(i *item) any { return i.user.Password.Encode() }},
	"now":            {"", cel.TimestampType, func(i *item) any { return i.now }},
}

func metadata(i *item) any {
	out := map[string]any{}
	_ = json.Unmarshal(i.user.Metadata, &out) // what is no object has no keys
	return out
}

// exactMetadata is the same with numbers as they are written.
func exactMetadata(i *item) any {
	d := json.NewDecoder(bytes.NewReader(i.user.Metadata))
	d.UseNumber()
	var out any
	_ = d.Decode(&out)
	return out
}

func rawMetadata(i *item) any {
	if i.user.Metadata == nil {
		return nil
	}
	return i.user.Metadata
}

// partFields are those of parts of an account.
var partFields = map[string][]string{
	perLogin:         {"kind", "provider", "subject", "hash"},
	perIdentity:      {"provider", "subject", "name"},
	perPassword:      {"hash", "scheme"},
	perPasskey:       {"id", "rp", "name", "counter", "transports", "created", "aaguid", "public_key", "public_key_url", "user_handle"},
	perAuthenticator: {"name", "secret", "period", "skew", "created"},
	perRole:          {"name", "tenant", "first"},
	perTenant:        {"id"},
}

var partFeatures = map[string]sdk.Feature{
	perLogin: sdk.CarriesIdentities, perIdentity: sdk.CarriesIdentities, perPasskey: sdk.CarriesPasskeys,
	perAuthenticator: sdk.CarriesTOTP, perRole: sdk.CarriesRoles, perTenant: sdk.CarriesTenants,
}

// source gives the value of a column.
type source struct {
	uses []string // fields of the account
	eval func(*item) (any, error)
}

// isField says that the value is one field of the account, whatever is made of it.
func (s *source) isField(name string) bool { return slices.Equal(s.uses, []string{name}) }

// compileColumn reports what is wrong with a declaration.
func compileColumn(c *Column, per string) (source, string) {
	given := 0
	for _, is := range []bool{c.Field != "", c.Value != nil, c.Template != "", c.CEL != ""} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return source{}, "a column needs exactly one of field, value, template and cel"
	case c.Value != nil:
		return source{eval: func(*item) (any, error) { return c.Value, nil }}, ""
	case c.Field != "":
		get, uses, problem := fieldOf(c.Field, per)
		return source{uses, func(i *item) (any, error) {
			if v := get(i); v != "" {
				return v, nil
			}
			return nil, nil // an absent text
		}}, problem
	case c.Template != "":
		return compileTemplate(c.Template, per)
	}
	return compileCEL(c.CEL, per)
}

// fieldOf finds a field by its name.
func fieldOf(name, per string) (get func(*item) any, uses []string, problem string) {
	if name == "metadata" {
		return rawMetadata, []string{name}, ""
	}
	if f, ok := accountFields[name]; ok {
		return f.of, []string{name}, ""
	}
	part, rest, dotted := strings.Cut(name, ".")
	switch {
	case part == "metadata" && dotted:
		steps := strings.Split(rest, ".")
		return func(i *item) any { return walk(exactMetadata(i), steps) }, []string{"metadata"}, ""
	case part == per && slices.Contains(partFields[per], rest):
		return func(i *item) any { return i.fields[rest] }, nil, ""
	}
	known := sortedKeys(accountFields)
	for _, f := range partFields[per] {
		known = append(known, per+"."+f)
	}
	return func(*item) any { return nil }, nil, fmt.Sprintf("there is no field %q here; use one of %s, or metadata.KEY", name, strings.Join(known, ", "))
}

func walk(v any, steps []string) any {
	for _, s := range steps {
		m, _ := v.(map[string]any)
		v = m[s]
	}
	return v
}

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// compileTemplate reads text with fields in braces. White space at its ends, as of names
// that are absent, goes.
func compileTemplate(text, per string) (source, string) {
	var s source
	var gets []func(*item) any
	var literals []string
	last, first := 0, ""
	for _, at := range placeholder.FindAllStringIndex(text, -1) {
		get, uses, problem := fieldOf(text[at[0]+1:at[1]-1], per)
		if first == "" {
			first = problem
		}
		literals, gets, s.uses = append(literals, text[last:at[0]]), append(gets, get), append(s.uses, uses...)
		last = at[1]
	}
	end := text[last:]
	s.eval = func(i *item) (any, error) {
		var b strings.Builder
		for n, get := range gets {
			b.WriteString(literals[n])
			v, err := canonicalText(get(i))
			if err != nil {
				return nil, err
			}
			b.WriteString(v)
		}
		return strings.TrimSpace(b.String() + end), nil
	}
	return s, first
}

// mostCost bounds what an expression may do for one row, in the library's own units.
const mostCost = 1_000_000

// environments hold the variables and functions of expressions, by what a row is for.
var environments = sync.OnceValues(func() (map[string]*cel.Env, error) {
	options := []cel.EnvOption{
		ext.Strings(), cel.DefaultUTCTimeZone(true),
		cel.Function("lower", cel.Overload("lower_string", []*cel.Type{cel.StringType}, cel.StringType, cel.UnaryBinding(func(v ref.Val) ref.Val {
			return types.String(strings.ToLower(fmt.Sprint(v.Value())))
		}))),
		cel.Function("uuid5", cel.Overload("uuid5_string", []*cel.Type{cel.StringType}, cel.StringType, cel.UnaryBinding(func(v ref.Val) ref.Val {
			return types.String(uuid.NewSHA1(rowIDs, []byte(fmt.Sprint(v.Value()))).String())
		}))),
	}
	for name, f := range accountFields {
		options = append(options, cel.Variable(name, f.typ))
	}
	all := map[string]*cel.Env{}
	base, err := cel.NewEnv(options...)
	if err != nil {
		return nil, err
	}
	all[perAccount] = base
	for per := range partFields {
		if all[per], err = base.Extend(cel.Variable(per, cel.MapType(cel.StringType, cel.DynType))); err != nil {
			return nil, err
		}
	}
	return all, nil
})

// rowIDs is the name space of ids that rows get by uuid5, the same in every run.
var rowIDs = uuid.MustParse("5f0c1c0e-6a52-5d1c-9d55-0f1f6d1a7b3e")

// compiling is held while an expression is compiled: for the first error in one, the
// library makes a list of what an environment declares, and others read it meanwhile.
var compiling sync.Mutex

func compileCEL(text, per string) (source, string) {
	envs, err := environments()
	if err != nil {
		return source{}, "the expression language cannot be set up: " + err.Error()
	}
	env := envs[per]
	if env == nil {
		return source{}, "" // what it is for is reported elsewhere
	}
	compiling.Lock()
	checked, issues := env.Compile(text)
	compiling.Unlock()
	if issues.Err() != nil {
		line, _, _ := strings.Cut(issues.Errors()[0].Message, "\n")
		return source{}, "in this expression: " + line
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if !short(checked) {
		options = append(options, cel.CostLimit(mostCost))
	}
	program, err := env.Program(checked, options...)
	if err != nil {
		return source{}, "in this expression: " + err.Error()
	}
	s := source{eval: func(i *item) (any, error) {
		v, _, err := program.Eval(activation{i, per})
		if err != nil {
			return nil, err
		}
		return native(v)
	}}
	for _, r := range checked.NativeRep().ReferenceMap() {
		if _, ok := accountFields[r.Name]; ok {
			s.uses = append(s.uses, r.Name)
		}
	}
	slices.Sort(s.uses)
	s.uses = slices.Compact(s.uses)
	return s, ""
}

// cheap are the operators and functions that look at each of their operands once, and give
// nothing that is larger than these together.
var cheap = []string{
	operators.Conditional, operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals,
	operators.Greater, operators.GreaterEquals, operators.Add, operators.Index, operators.In, "dyn", "lower", "size", "string", "trim", "uuid5",
}

// short says that an expression cannot take long for any account: it repeats nothing. To
// count what it does would take as long again as doing it.
func short(expression *cel.Ast) bool {
	long := func(e ast.NavigableExpr) bool {
		return e.Kind() == ast.ComprehensionKind || e.Kind() == ast.CallKind && !slices.Contains(cheap, e.AsCall().FunctionName())
	}
	return len(ast.MatchDescendants(ast.NavigateAST(expression.NativeRep()), long)) == 0
}

// activation resolves variables as they are asked for.
type activation struct {
	item *item
	per  string
}

// ResolveName implements the library's interface.
func (a activation) ResolveName(name string) (any, bool) {
	if f, ok := accountFields[name]; ok {
		v := f.of(a.item)
		if v == nil {
			return types.NullValue, true
		}
		return v, true
	}
	if name == a.per && a.item.fields != nil {
		return a.item.fields, true
	}
	return nil, false
}

// Parent implements the library's interface.
func (activation) Parent() cel.Activation { return nil }

// native makes a plain value of the library's.
func native(v ref.Val) (any, error) {
	switch v := v.(type) {
	case types.Null:
		return nil, nil //nolint:nilnil // that is the value
	case types.String:
		return string(v), nil
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int64(v), nil
	case types.Uint:
		if uint64(v) > math.MaxInt64 {
			return nil, fmt.Errorf("%d is too large", uint64(v))
		}
		return int64(v), nil //nolint:gosec // bounded by the line above
	case types.Double:
		return float64(v), nil
	case types.Timestamp:
		return v.Time, nil
	case types.Bytes:
		return []byte(v), nil
	}
	return plain(v.Value())
}

// plain makes what JSON knows of lists and maps.
func plain(v any) (any, error) {
	switch v := v.(type) {
	case ref.Val:
		return native(v)
	case []ref.Val:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = native(v[i]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[ref.Val]ref.Val:
		out := map[string]any{}
		for k, e := range v {
			var err error
			if out[fmt.Sprint(k.Value())], err = native(e); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}
