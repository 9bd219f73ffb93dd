package supertokens

import "fmt"

// release is a minor release of the core, ordered: 10.1 comes after 9.3. Zero is
// before all of them.
type release int

// core is the release of this number.
func core(major, minor int) release { return release(major*100 + minor) }

func (r release) String() string { return fmt.Sprintf("%d.%d", r/100, r%100) }

// Generation is a shape of the database, ordered by age. Only the questions below
// tell generations apart, so that a new one answers them all like the one before
// it unless somebody says otherwise.
type Generation int

// generations lists the shapes, oldest first: the first release of the core that
// makes it, and what that release changed.
var generations = []struct {
	name   string
	since  release
	change string
}{
	{"G0", core(1, 0), "sessions only, no users"},
	{"G1a", core(3, 0), "e-mail and password, verification not recorded"},
	{"G1b", core(3, 1), "verification is a column of the user"},
	{"G1c", core(3, 3), "verification is a table; third-party users"},
	{"G2", core(3, 5), "index of all users, optional modules"},
	{"G3", core(6, 0), "apps and tenants"},
	{"G4", core(7, 0), "account linking"},
	{"G5", core(12, 0), "tenant membership in new tables, in stages"},
	{"G5'", core(12, 1), "columns for the rotation of refresh tokens"},
}

// generationOf names the shape that a release makes.
func generationOf(r release) Generation {
	g := Generation(0)
	for i := range generations {
		if generations[i].since <= r {
			g = Generation(i)
		}
	}
	return g
}

// String is the short name, "G4".
func (g Generation) String() string { return generations[g].name }

// Cores names the releases that make this shape: "core 7-11".
func (g Generation) Cores() string {
	first := generations[g].since
	if int(g)+1 == len(generations) {
		return fmt.Sprintf("core %s and newer", first)
	}
	last := generations[g+1].since - 1
	switch {
	case last == first:
		return "core " + first.String()
	case (last+1)%100 != 0:
		return fmt.Sprintf("core %s-%s", first, last)
	case first%100 != 0:
		return fmt.Sprintf("core %s-%d", first, last/100)
	case first/100 == last/100:
		return fmt.Sprintf("core %d", first/100)
	default:
		return fmt.Sprintf("core %d-%d", first/100, last/100)
	}
}

// MarshalText implements [encoding.TextMarshaler] with the short name.
func (g Generation) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler] for short names.
func (g *Generation) UnmarshalText(text []byte) error {
	for i := range generations {
		if generations[i].name == string(text) {
			*g = Generation(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no generation; there are %s", text, generationNames())
}

func generationNames() []string {
	var out []string
	for i := range generations {
		out = append(out, generations[i].name)
	}
	return out
}

// at reports whether g is the shape of this release, or a younger one.
func (g Generation) at(r release) bool { return g >= generationOf(r) }

// hasUsers reports whether there is anybody to move.
func (g Generation) hasUsers() bool { return g.at(core(3, 0)) }

// recordsVerification reports whether verified addresses are in a table of their own.
func (g Generation) recordsVerification() bool { return g.at(core(3, 3)) }

// indexesUsers reports whether a table lists the users of all recipes.
func (g Generation) indexesUsers() bool { return g.at(core(3, 5)) }

// multiApp reports whether rows carry an app, and users are in tenants.
func (g Generation) multiApp() bool { return g.at(core(6, 0)) }

// links reports whether several logins can form one account.
func (g Generation) links() bool { return g.at(core(7, 0)) }

// tenantsMigrate reports whether tenant membership may be in either of two places.
func (g Generation) tenantsMigrate() bool { return g.at(core(12, 0)) }
