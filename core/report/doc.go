// Package report renders what a run did, or would do, for people and scripts.
// It prints ids, counts, codes and details; values of users appear only where
// a difference is shown, and secrets never.
package report
