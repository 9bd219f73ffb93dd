//go:build !race

package supertokens

const raced = false
