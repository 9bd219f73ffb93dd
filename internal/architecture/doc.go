// Package architecture holds no code: its tests keep the picture of the
// packages true.
package architecture
