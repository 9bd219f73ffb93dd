// Package engine moves users: it reads accounts, maps them, decides what becomes
// of each, hands them to a target in batches, and afterwards verifies or undoes
// what was done.
//
// The stages of a run have values between them and know nothing of each other: the
// survey reads and maps every account once, conflicts says who keeps what several want,
// limits and canaries come before the first write, reconcile decides about accounts that
// may be in the target, the loader marks, sends and records, and what was written is read
// back. engine.go has their order.
//
// It knows neither where accounts come from nor what the target is nor how the
// journal is stored; all three are interfaces here. It upholds these invariants:
//
//	I1  every account ends in exactly one outcome, and the sums add up
//	I2  nothing is counted before it is durable in the journal
//	I3  running twice equals running once
//	I4  a dry run writes nothing: of the target it asks Check and Plan, and an Undo that
//	    only looks where people have gone
//	I5  an unknown answer is an outcome of its own, and is looked up by the next run
//	I6  an account that was in the target before is changed only where a policy
//	    says so, and never deleted
package engine
