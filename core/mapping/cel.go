package mapping

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
	"github.com/google/uuid"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

// mostCost bounds what an expression may do for one account, in the library's
// own units: a comparison is one, a pass over a list one for each element.
const mostCost = 1_000_000

// compiler compiles rules.
type compiler struct{ *vocabulary }

// vocabulary is what rules can read.
type vocabulary struct {
	// of is what has the names, for messages.
	of    string
	names []string
	// environment holds the variables and functions of expressions.
	environment func() (*cel.Env, error)
}

// The vocabularies: what rules about accounts read, the same where there are several targets,
// and what names of places are made of.
var (
	ofAccounts = newVocabulary("an account", readable(varTarget, varHome, varTenant))
	ofTargets  = newVocabulary("an account", readable(varTenant))
	ofTenants  = newVocabulary("a tenant", []string{varTenant})
)

func newVocabulary(of string, names []string) *vocabulary {
	return &vocabulary{of, names, sync.OnceValues(func() (*cel.Env, error) {
		options := []cel.EnvOption{ext.Strings(), cel.OptionalTypes(), cel.DefaultUTCTimeZone(true), uuid5}
		for _, name := range names {
			options = append(options, cel.Variable(name, variables[name].typ))
		}
		return cel.NewEnv(options...)
	})}
}

// madeIDs is the name space of ids that rules make, the same in every run.
var madeIDs = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/stetl/stetl/mapping/id"))

// uuid5 makes an id of a text: always the same one of the same text.
var uuid5 = cel.Function("uuid5", cel.Overload("uuid5_string", []*cel.Type{cel.StringType}, cel.StringType, cel.UnaryBinding(func(v ref.Val) ref.Val {
	return types.String(uuid.NewSHA1(madeIDs, []byte(fmt.Sprint(v.Value()))).String())
})))

// compiling is held while an expression is compiled: for the first error in one, the
// library makes a list of what an environment declares, and others read it meanwhile.
var compiling sync.Mutex

// expression is one compiled.
type expression struct{ program cel.Program }

// typeOf is the type of the variable that a field is.
func typeOf(k pluginapi.Kind) *cel.Type {
	switch k {
	case pluginapi.Text, pluginapi.Word:
		return cel.StringType
	case pluginapi.Flag:
		return cel.BoolType
	case pluginapi.Unknown:
		return cel.NullableType(cel.BoolType)
	case pluginapi.Texts:
		return cel.ListType(cel.StringType)
	case pluginapi.TextMap:
		return cel.MapType(cel.StringType, cel.ListType(cel.StringType))
	case pluginapi.Object:
		return cel.MapType(cel.StringType, cel.DynType)
	default: // a time may be null, and parts of the metadata are anything
		return cel.DynType
	}
}

// results are the types that an expression for a field may have; none when every type
// will do.
func results(k pluginapi.Kind) []*cel.Type {
	switch k {
	case anything:
		return nil
	case pluginapi.Flag, pluginapi.Unknown:
		return []*cel.Type{cel.BoolType, cel.NullableType(cel.BoolType)}
	default:
		return []*cel.Type{typeOf(k)}
	}
}

var kindNames = map[pluginapi.Kind]string{
	pluginapi.Text: "text", pluginapi.Flag: "true or false", pluginapi.Unknown: "true or false", pluginapi.Moment: "a time", pluginapi.Texts: "a list of text",
	pluginapi.TextMap: "a map of lists of text", pluginapi.Object: "a map", anything: "anything",
}

// expression compiles CEL; nil when it has errors.
func (c *compiler) expression(source, path string, want pluginapi.Kind, found *diag.List) *expression {
	env, err := c.environment()
	if err != nil {
		found.Add(diag.Diagnostic{Code: diag.MapBadExpression, Summary: "the expression language cannot be set up", Detail: err.Error(), Path: path})
		return nil
	}
	compiling.Lock()
	ast, issues := env.Compile(source)
	compiling.Unlock()
	if issues.Err() != nil {
		for _, e := range issues.Errors() {
			d := diag.Diagnostic{Code: diag.MapBadExpression, Summary: "in this expression: " + firstLine(e.Message), Path: path}
			if e.Location.Line() > 0 {
				d.Pos = diag.Pos{Line: e.Location.Line(), Col: e.Location.Column() + 1}
			}
			if name, ok := undeclared(e.Message); ok {
				if meant := diag.Suggest(name, c.names); meant != "" {
					d.Hint = fmt.Sprintf("did you mean %q?", meant)
				} else {
					d.Hint = "use one of: " + strings.Join(c.names, ", ")
				}
			}
			found.Add(d)
		}
		return nil
	}
	if !fits(ast.OutputType(), want) {
		found.Add(diag.Diagnostic{
			Code: diag.MapBadExpression, Summary: fmt.Sprintf("the expression has the type %s, but %s is needed", ast.OutputType(), kindNames[want]), Path: path,
		})
		return nil
	}
	program, err := env.Program(ast, cel.CostLimit(mostCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		found.Add(diag.Diagnostic{Code: diag.MapBadExpression, Summary: "in this expression: " + firstLine(err.Error()), Path: path})
		return nil
	}
	return &expression{program}
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

func undeclared(message string) (string, bool) {
	_, rest, ok := strings.Cut(message, "undeclared reference to '")
	name, _, found := strings.Cut(rest, "'")
	return name, ok && found
}

func fits(got *cel.Type, want pluginapi.Kind) bool {
	all := results(want)
	if all == nil || got.IsExactType(cel.DynType) || got.IsExactType(cel.NullType) && want != pluginapi.Object {
		return true
	}
	for _, t := range all {
		if t.IsAssignableType(got) {
			return true
		}
	}
	return false
}

// resolver resolves variables as they are asked for.
type resolver struct{ *view }

// ResolveName implements the library's activation.
func (n resolver) ResolveName(name string) (any, bool) {
	read, ok := variables[name]
	if !ok {
		return nil, false
	}
	value := read.get(n.view)
	if value == nil {
		return types.NullValue, true
	}
	return value, true
}

// Parent implements the library's activation.
func (resolver) Parent() cel.Activation { return nil }

// eval evaluates for one account. Errors hold nothing of the account.
func (e *expression) eval(v *view) (any, error) {
	got, _, err := e.program.Eval(resolver{v})
	if err != nil {
		return nil, evalError(err)
	}
	return native(got)
}

// evalError words an error without the values that the library's message may quote.
func evalError(err error) error {
	for prefix, words := range map[string]string{
		"no such key":            "a key that the expression reads does not exist; test for it with has(…)",
		"no such overload":       "a value has a type that the expression does not expect",
		"index out of bounds":    "a list is shorter than the expression expects",
		"divide by zero":         "it divides by zero",
		"operation cancelled":    "it takes too long",
		"actual cost limit":      "it takes too long",
		"no such attribute":      "an attribute that the expression reads does not exist",
		"type conversion error":  "a value cannot be converted",
		"optional.none()":        "an optional value is absent",
		"unsupported conversion": "a value cannot be converted",
	} {
		if strings.Contains(err.Error(), prefix) {
			return errors.New(words)
		}
	}
	return errors.New("the expression cannot be evaluated for this account")
}

// native turns a value of the library into plain Go.
func native(v ref.Val) (any, error) {
	switch v := v.(type) {
	case types.Null:
		return nil, nil
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int64(v), nil
	case types.Uint:
		return uint64(v), nil
	case types.Double:
		return float64(v), nil
	case types.String:
		return string(v), nil
	case types.Timestamp:
		return v.Time.UTC().Format(time.RFC3339Nano), nil
	case *types.Optional:
		if !v.HasValue() {
			return nil, nil
		}
		return native(v.GetValue())
	case traits.Mapper:
		out := map[string]any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			name, ok := key.(types.String)
			if !ok {
				return nil, errors.New("a map has a key that is not text")
			}
			value, err := native(v.Get(key))
			if err != nil {
				return nil, err
			}
			out[string(name)] = value
		}
		return out, nil
	case traits.Lister:
		out := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			value, err := native(it.Next())
			if err != nil {
				return nil, err
			}
			out = append(out, value)
		}
		return out, nil
	}
	return nil, errors.New("the expression gives a value that has no JSON form")
}
