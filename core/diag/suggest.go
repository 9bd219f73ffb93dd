package diag

import "strings"

// Suggest returns the candidate that name is most likely a misspelling of, or
// "". Case, '-' and '_' do not count, so clientId finds client_id; otherwise
// about one edit per three characters is forgiven.
func Suggest(name string, candidates []string) string {
	name = fold(name)
	best, least := "", max(1, len([]rune(name))/3)+1
	for _, c := range candidates {
		if d := distance([]rune(name), []rune(fold(c))); d < least {
			best, least = c, d
		}
	}
	return best
}

func fold(s string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s))
}

// distance is the optimal string alignment distance: insertions, deletions,
// substitutions and swaps of neighbours cost one each.
func distance(a, b []rune) int {
	before, prev := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev = prev, row
	}
	return prev[len(b)]
}
