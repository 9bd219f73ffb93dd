package keycloak

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// userProfile is the realm's declarative user profile.
type userProfile struct {
	Unmanaged  string             `json:"unmanagedAttributePolicy"`
	Attributes []profileAttribute `json:"attributes"`
}

// profileAttribute is a field of an account that the profile declares.
type profileAttribute struct {
	Name     string `json:"name"`
	Required *struct {
		Roles  []string `json:"roles"`
		Scopes []string `json:"scopes"`
	} `json:"required"`
	Permissions *struct {
		View []string `json:"view"`
		Edit []string `json:"edit"`
	} `json:"permissions"`
	Validations map[string]map[string]any `json:"validations"`
	Multivalued bool                      `json:"multivalued"`
}

// administrator is the role that the admin API has in a user profile.
const administrator = "admin"

// required lists what a user must have to sign in, beside the user name; scoped what a
// sign-in asks for that is for certain scopes, by attribute.
func (p *userProfile) required() (always []string, scoped map[string][]string) {
	scoped = map[string][]string{}
	for _, a := range p.Attributes {
		switch {
		case a.Name == fieldUsername, a.Required == nil, len(a.Required.Roles) > 0 && !slices.Contains(a.Required.Roles, "user"):
		case len(a.Required.Scopes) > 0:
			scoped[a.Name] = a.Required.Scopes
		default:
			always = append(always, a.Name)
		}
	}
	return always, scoped
}

func (p *userProfile) declared(name string) *profileAttribute {
	i := slices.IndexFunc(p.Attributes, func(a profileAttribute) bool { return a.Name == name })
	if i < 0 {
		return nil
	}
	return &p.Attributes[i]
}

// shows reports whether an administrator can read the attribute back.
func (p *userProfile) shows(name string) bool {
	if a := p.declared(name); a != nil {
		return a.Permissions == nil || slices.Contains(a.Permissions.View, administrator) || slices.Contains(a.Permissions.Edit, administrator)
	}
	return p.Unmanaged != ""
}

// takesChanges reports whether an administrator can change the attribute of an account that
// is there.
func (p *userProfile) takesChanges(name string) bool {
	if a := p.declared(name); a != nil {
		return a.Permissions == nil || slices.Contains(a.Permissions.Edit, administrator)
	}
	return p.Unmanaged == adminsEdit || p.Unmanaged == everybodyEdits
}

// refuses says why the realm does not take a value, empty where it does, or where only the
// server can tell. The import takes it all the same: the next change of the account is
// refused, and whoever signs in has to correct it first.
func (p *userProfile) refuses(name string, values []string) string {
	a := p.declared(name)
	if a == nil {
		return ""
	}
	if !a.Multivalued && len(values) > 1 {
		return fmt.Sprintf("it takes one value, and there are %d", len(values))
	}
	for _, validator := range slices.Sorted(maps.Keys(a.Validations)) {
		config := limits(a.Validations[validator])
		if validator == "multivalued" {
			if why := config.size(len(values), "values"); why != "" {
				return why
			}
			continue
		}
		check := validators[validator]
		for _, value := range values {
			if value == "" || check == nil {
				continue
			}
			if why := check(config, value); why != "" {
				return why
			}
		}
	}
	return ""
}

// limits are what a validator is configured with.
type limits map[string]any

func (l limits) number(key string) (float64, bool) {
	switch v := l[key].(type) {
	case float64:
		return v, true
	case string:
		n, err := strconv.ParseFloat(v, 64)
		return n, err == nil
	}
	return 0, false
}

func (l limits) size(n int, what string) string {
	if least, set := l.number("min"); set && float64(n) < least {
		return fmt.Sprintf("it has %d %s, and %v is the least", n, what, least)
	}
	if most, set := l.number("max"); set && float64(n) > most {
		return fmt.Sprintf("it has %d %s, and %v is the most", n, what, most)
	}
	return ""
}

func (l limits) between(n float64) string {
	if least, set := l.number("min"); set && n < least {
		return fmt.Sprintf("it is below %v", least)
	}
	if most, set := l.number("max"); set && n > most {
		return fmt.Sprintf("it is above %v", most)
	}
	return ""
}

// What the server's own validators let through.
var (
	personName  = regexp.MustCompile(`^[^<>&"\v\n\f\r\x{85}\x{2028}\x{2029}$%!#?§;*~/\\|^=\[\]{}()\x00-\x1f\x7f]+$`)
	userName    = regexp.MustCompile("^[^<>&\"'\\s\\v\\x{85}\\x{2028}\\x{2029}\\x{a0}\\x{1680}\\x{180e}\\x{2000}-\\x{200a}\\x{202f}\\x{205f}\\x{3000}$%!#?§,;:*~/\\\\|^=\\[\\]{}()`\\x00-\\x1f\\x7f]+$")
	latinScript = regexp.MustCompile(`^[\p{Latin}\p{Common}]+$`)
	anAddress   = regexp.MustCompile(`^[^\s@]+@[^\s@]+$|^".*"@[^\s@]+$`)
)

// validators are those of the server that can be held to without it. Others are left to
// it.
var validators = map[string]func(l limits, value string) string{
	"length": func(l limits, value string) string {
		if l["trim-disabled"] != true && l["trim-disabled"] != "true" {
			value = strings.TrimSpace(value)
		}
		return l.size(length(value), "characters")
	},
	"pattern": func(l limits, value string) string {
		text, _ := l["pattern"].(string)
		pattern, err := regexp.Compile("^(?:" + text + ")$")
		if err != nil || pattern.MatchString(value) {
			return "" // what Java alone understands, the server judges
		}
		return "it does not match the pattern " + text
	},
	"person-name-prohibited-characters": func(_ limits, value string) string {
		return unless(personName, value, "it has characters that names may not have")
	},
	"username-prohibited-characters": func(_ limits, value string) string {
		return unless(userName, value, "it has characters that user names may not have")
	},
	"up-username-not-idn-homograph": func(_ limits, value string) string {
		return unless(latinScript, value, "it has letters of another script than Latin")
	},
	"email": func(l limits, value string) string {
		local, _, _ := strings.Cut(value, "@")
		most, set := l.number("max-local-length")
		if !set {
			most = 64
		}
		if why := unless(anAddress, value, "it is no e-mail address"); why != "" || float64(length(local)) <= most {
			return why
		}
		return fmt.Sprintf("its part before the @ has %d characters, and %v is the most", length(local), most)
	},
	"options": func(l limits, value string) string {
		list, _ := l["options"].([]any)
		if len(list) == 0 || slices.Contains(list, any(value)) {
			return ""
		}
		return "it is none of the options"
	},
	"integer": func(l limits, value string) string {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return "it is no whole number"
		}
		return l.between(float64(n))
	},
	"double": func(l limits, value string) string {
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return "it is no number"
		}
		return l.between(n)
	},
}

func unless(pattern *regexp.Regexp, value, why string) string {
	if pattern.MatchString(value) {
		return ""
	}
	return why
}
