// Package diag describes problems to people and scripts alike.
//
// A [Diagnostic] names the place, the rule and the remedy, and carries a stable
// [Code]. A [List] collects all of them before anything stops. [Write] renders
// compiler-style text; encoding/json renders the same for scripts. The codes of the
// core stand in one table, codes.go; plugins declare theirs, and [Words] joins them.
//
// The package reads no files: whoever makes a diagnostic also gives the
// [Snippet], because only that party knows which part of a line is a secret.
package diag
