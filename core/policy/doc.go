// Package policy has the decisions of an operator that a run obeys: what a configuration
// says under policies and limits. The configuration reads them, mapping and engine take
// them as they are.
package policy
