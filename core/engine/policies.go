package engine

import "github.com/stetl/stetl/core/policy"

type (
	// Policies are the decisions of the operator, as a configuration has them.
	Policies = policy.Policies
	// Collision is about accounts that want what another account keeps.
	Collision = policy.Collision
	// Limits stop a run that would do more than was expected of it.
	Limits = policy.Limits
	// Limit is one of them.
	Limit = policy.Limit
)
