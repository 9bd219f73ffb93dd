package sqltarget

import (
	"slices"

	"github.com/stetl/stetl/core/sdk"
)

// signIns are the ways to sign in of the application. No database knows them: a preset has
// those that its library can, as far as the tables hold what they need, and the
// configuration those that are switched on. Without it all of a preset's are unknown, and
// of other tables nobody says anything.
func signIns(c *Config, m *model) (declared, found []sdk.SignIn) {
	for _, name := range c.ways {
		if s, err := sdk.ParseSignIn(name); err == nil && m.serves(s.Way) {
			declared = append(declared, s)
		}
	}
	for _, name := range c.SignIns {
		s, err := sdk.ParseSignIn(name)
		if err != nil {
			continue // it was reported
		}
		if !slices.Contains(declared, s) {
			declared = append(declared, s)
		}
		s.State = sdk.SwitchOn
		found = append(found, s)
	}
	if len(c.SignIns) == 0 {
		return declared, nil
	}
	for _, s := range declared {
		if !slices.ContainsFunc(found, func(f sdk.SignIn) bool { return f.Way == s.Way && f.Provider == s.Provider }) {
			s.State = sdk.SwitchOff
			found = append(found, s)
		}
	}
	return declared, found
}

// serves says that the tables hold what a way to sign in needs.
func (m *model) serves(way sdk.SignInWay) bool {
	per := func(kinds ...string) bool {
		return slices.ContainsFunc(m.tables, func(t *table) bool { return slices.Contains(kinds, t.Per) })
	}
	switch way {
	case sdk.SignInPassword:
		return m.passwords()
	case sdk.SignInSocial:
		return per(perIdentity, perLogin)
	case sdk.SignInPasskey:
		return per(perPasskey)
	case sdk.SignInSMSCode:
		return m.uses("phone")
	case sdk.SignInEmailCode, sdk.SignInEmailReset:
	}
	return m.uses("email")
}

// SignIns implements [sdk.SignInReporter].
func (t *live) SignIns() []sdk.SignIn {
	_, found := signIns(&t.config, t.model)
	return found
}

// SignIns implements [sdk.SignInReporter].
func (t *files) SignIns() []sdk.SignIn {
	_, found := signIns(&t.config, t.model)
	return found
}
