package sqltarget

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// kind is what a column holds, as far as comparing goes.
type kind int

const (
	kindText kind = iota
	kindBool
	kindInteger
	kindNumber
	kindMoment // with or without a time zone: without, it is UTC
	kindDate
	kindUUID
	kindBytes
	kindJSON
	kindTexts
	kindLoose // of a script, for which nobody has looked
)

// value is the canonical text of a value, the same for what is wanted and for what is
// read, whatever a program or a database writes.
type value struct {
	text string
	null bool
}

var null = value{null: true}

// is compares as the plan does.
func (v value) is(o value) bool { return v == o }

const momentLayout = "2006-01-02 15:04:05.999999"

// canonicalOf makes the value that a column of a kind gets; digits are those after a
// second.
func canonicalOf(k kind, digits int, v any) (value, error) {
	if v == nil {
		return null, nil
	}
	if k == kindJSON {
		return canonicalJSON(v)
	}
	if k == kindTexts {
		return canonicalTexts(v)
	}
	if t, ok := v.(time.Time); ok && (k == kindMoment || k == kindDate) {
		return value{text: formatMoment(k, digits, t)}, nil
	}
	switch v := v.(type) {
	case bool:
		if k == kindLoose {
			return value{text: map[bool]string{true: "1", false: "0"}[v]}, nil // what every database reads
		}
	case time.Time:
		if k == kindLoose {
			return value{text: formatMoment(kindMoment, digits, v)}, nil
		}
	}
	if b, ok := v.([]byte); ok && k == kindBytes {
		return value{text: hex.EncodeToString(b)}, nil
	}
	text, err := canonicalText(v)
	if err != nil {
		return null, err
	}
	return parse(k, digits, text)
}

func formatMoment(k kind, digits int, t time.Time) string {
	if k == kindDate {
		return t.UTC().Format(time.DateOnly)
	}
	unit := time.Second
	for range digits {
		unit /= 10
	}
	return t.UTC().Round(unit).Format(momentLayout)
}

var (
	uuidPattern   = regexp.MustCompile(`^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$`)
	numberPattern = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)
)

// parse reads text: a constant, what an expression gives, or what the database shows.
func parse(k kind, digits int, text string) (value, error) {
	switch k {
	case kindBool:
		switch strings.ToLower(text) {
		case "true", "t", "1":
			return value{text: "true"}, nil
		case "false", "f", "0":
			return value{text: "false"}, nil
		}
		return null, errors.New("true or false is needed")
	case kindInteger:
		switch text {
		case "true":
			return value{text: "1"}, nil
		case "false":
			return value{text: "0"}, nil
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return null, errors.New("a whole number is needed")
		}
		return value{text: strconv.FormatInt(n, 10)}, nil
	case kindNumber:
		if !numberPattern.MatchString(text) {
			return null, errors.New("a number is needed")
		}
		if strings.Contains(text, ".") {
			text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
		}
		return value{text: text}, nil
	case kindMoment, kindDate:
		for _, layout := range []string{"2006-01-02 15:04:05.999999-07", "2006-01-02 15:04:05.999999", time.RFC3339Nano, time.DateOnly} {
			if t, err := time.Parse(layout, text); err == nil {
				return value{text: formatMoment(k, digits, t)}, nil
			}
		}
		return null, errors.New("a time is needed")
	case kindUUID:
		if !uuidPattern.MatchString(text) {
			return null, errors.New("a UUID is needed")
		}
		return value{text: uuid.MustParse(text).String()}, nil
	case kindJSON:
		return canonicalJSON(json.RawMessage(text))
	case kindTexts:
		return canonicalTexts(json.RawMessage(text))
	case kindText, kindBytes, kindLoose:
	}
	return value{text: text}, nil
}

var errNUL = errors.New("it has a NUL character, which the database does not allow")

// canonicalText is the text of a value for a column of text.
func canonicalText(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		switch {
		case strings.ContainsRune(v, 0):
			return "", errNUL
		case !utf8.ValidString(v):
			return "", errors.New("it is not UTF-8")
		}
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case json.Number:
		return v.String(), nil
	case int:
		return strconv.Itoa(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano), nil
	case []byte:
		return hex.EncodeToString(v), nil
	}
	j, err := canonicalJSON(v)
	return j.text, err
}

// canonicalJSON writes JSON with sorted keys and without white space.
func canonicalJSON(v any) (value, error) {
	raw, ok := v.(json.RawMessage)
	if !ok {
		if s, isText := v.(string); isText && json.Valid([]byte(s)) {
			raw = json.RawMessage(s)
		} else {
			var err error
			if raw, err = json.Marshal(v); err != nil {
				return null, err
			}
		}
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var decoded any
	if err := d.Decode(&decoded); err != nil {
		return null, fmt.Errorf("it is not JSON: %w", err)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(decoded); err != nil {
		return null, err
	}
	text := strings.TrimSpace(b.String())
	if strings.Contains(text, `\u0000`) {
		return null, errNUL
	}
	return value{text: text}, nil
}

// canonicalTexts is a list of texts, as JSON.
func canonicalTexts(v any) (value, error) {
	if raw, ok := v.(json.RawMessage); ok {
		var list []string
		if err := json.Unmarshal(raw, &list); err != nil {
			return null, errors.New("a list of texts is needed")
		}
		v = list
	}
	var list []string
	switch v := v.(type) {
	case []string:
		list = v
	case []any:
		for _, e := range v {
			s, err := canonicalText(e)
			if err != nil {
				return null, err
			}
			list = append(list, s)
		}
	default:
		return null, errors.New("a list of texts is needed")
	}
	if slices.ContainsFunc(list, func(s string) bool { return strings.ContainsRune(s, 0) }) {
		return null, errNUL
	}
	if list == nil {
		list = []string{}
	}
	raw, err := json.Marshal(list)
	return value{text: string(raw)}, err
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
