package supertokensgen

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// WriteLinked writes a database of [G4] that holds one account of so many logins:
// the four kinds in turn, each login in a tenant of its own and in one that all
// share, with addresses that are proven, left behind and in mixed case. Every
// loop over the logins of an account inside of another one shows on it.
func WriteLinked(w io.Writer, logins int) error {
	s, err := loadSchema(G4)
	if err != nil {
		return err
	}
	rows := linkedRows(logins)
	out := bufio.NewWriterSize(w, 1<<20)
	write := func(text string) { _, _ = out.WriteString(text) } // Flush has the error
	write(header)
	for _, t := range s.tables {
		write(t.create + "\n")
	}
	for _, t := range s.tables {
		data := rows[t.name]
		columns := data.columns
		if columns == "" {
			columns = strings.Join(t.columns, ", ")
		}
		write(fmt.Sprintf("--\n-- Data for Name: %s; Type: TABLE DATA; Schema: public; Owner: -\n--\n\nCOPY public.%s (%s) FROM stdin;\n", t.name, t.name, columns))
		for _, line := range data.lines {
			write(line + "\n")
		}
		write("\\.\n\n")
	}
	write("\n" + s.keys + trailer)
	return out.Flush()
}

// LinkedAccount is the internal id of the account that [WriteLinked] writes.
const LinkedAccount = "00000000-0000-4000-8000-000000000000"

// lines are rows of COPY text.
type lines struct {
	columns string
	lines   []string
}

func linkedRows(logins int) map[string]lines {
	out := map[string]lines{}
	add := func(table, columns string, values ...string) {
		l := out[table]
		l.columns, l.lines = columns, append(l.lines, strings.Join(values, "\t"))
		out[table] = l
	}
	const joined, hash = "1600000000000", "$2a$11$.mGE0J14iWfnf4YcF3VrROMyYe9q6pa77pjh7rJ0f3EZNWZcFIJSK"
	tenant := func(id string) {
		add("tenants", "app_id, tenant_id, created_at_time", "public", id, joined)
	}
	add("apps", "app_id, created_at_time", "public", joined)
	tenant("public")
	for i := range logins {
		id, recipe := LinkedAccount, [...]string{"emailpassword", "thirdparty", "passwordless", "passwordless"}[i%4]
		if i > 0 {
			id = fmt.Sprintf("%08x-1111-4000-8000-%012d", uint32(draw(1).of(uint64(i))), i) //nolint:gosec // the lower half
		}
		own := "tenant-" + strconv.Itoa(i)
		tenant(own)
		add("app_id_to_user_id", "app_id, user_id, recipe_id, primary_or_recipe_user_id, is_linked_or_is_a_primary_user", "public", id, recipe, LinkedAccount, "t")
		for _, tenant := range []string{"public", own} {
			add("all_auth_recipe_users", "app_id, tenant_id, user_id, primary_or_recipe_user_id, is_linked_or_is_a_primary_user, recipe_id, time_joined, primary_or_recipe_user_time_joined",
				"public", tenant, id, LinkedAccount, "t", recipe, joined, joined)
		}
		mail, phone := fmt.Sprintf("user%09d@mail.example", i), `\N`
		switch i % 16 {
		case 3, 7, 11:
			mail, phone = `\N`, fmt.Sprintf("+4930%09d", i)
		case 4, 5, 6:
			mail = "U" + mail[1:]
		}
		switch recipe {
		case "emailpassword":
			add("emailpassword_users", "app_id, user_id, email, password_hash, time_joined", "public", id, mail, hash, joined)
		case "thirdparty":
			add("thirdparty_users", "app_id, third_party_id, third_party_user_id, user_id, email, time_joined",
				"public", providers[i/4%len(providers)], "subject-"+strconv.Itoa(i), id, mail, joined)
		default:
			add("passwordless_users", "app_id, user_id, email, phone_number, time_joined", "public", id, mail, phone, joined)
		}
		verified := "app_id, user_id, email"
		if i%3 == 0 && mail != `\N` {
			add("emailverification_verified_emails", verified, "public", id, mail)
		} else if i%3 == 1 {
			add("emailverification_verified_emails", verified, "public", id, "former."+strconv.Itoa(i)+"@mail.example")
		}
		switch i % 10 {
		case 0:
			add("userid_mapping", "app_id, supertokens_user_id, external_user_id, external_user_id_info", "public", id, "external-"+strconv.Itoa(i), `\N`)
		case 5:
			add("user_metadata", "app_id, user_id, user_metadata", "public", id, `{"own":true}`)
		}
	}
	return out
}
