// Package engine moves users: it reads accounts, maps them, decides what
// becomes of each, and hands them to a target in batches.
//
// It knows neither where accounts come from nor what the target is; both are
// interfaces here. It upholds these invariants:
//
//	I1  every account ends in exactly one outcome, and the sums add up
//	I4  a dry run only ever calls Check and Plan
//	I6  an unknown answer is an outcome of its own, never a guess
package engine
