// Package spill holds more rows than memory should: in partitions, in a temporary
// file that only this process can read.
package spill
