//go:build !race

package testenv

// Raced says that the race detector is at work, which makes everything several times
// slower.
const Raced = false
