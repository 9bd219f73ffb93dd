package importjob

import "testing"

// TestErrorsOfAJob joins what servers may say about users.
func TestErrorsOfAJob(t *testing.T) {
	t.Parallel()
	var errs []UserError
	for _, e := range [][3]string{
		{"1", "", "A"}, {"1", "", "B"}, {"auth0|2", "", "C"}, {"", "THREE@example.com", "D"}, {"generated", "four@example.com", "E"}, {"", "", "F"},
	} {
		var one UserError
		one.User.UserID, one.User.Email = e[0], e[1]
		one.Errors = append(one.Errors, Complaint{Code: e[2]})
		errs = append(errs, one)
	}
	var load []*Item
	for _, u := range [][2]string{{"1", "one@example.com"}, {"2", "two@example.com"}, {"3", "three@example.com"}, {"4", "four@example.com"}, {"5", ""}} {
		load = append(load, &Item{User: User{ID: u[0], Email: u[1]}})
	}
	said := join(load, errs)
	for i, want := range []string{"A: ; B: ", "C: ", "D: ", "E: ", ""} {
		got := ""
		if e := said[load[i]]; e != nil {
			got = e.Text()
		}
		if got != want {
			t.Errorf("user %d: %q, want %q", i+1, got, want)
		}
	}
}
