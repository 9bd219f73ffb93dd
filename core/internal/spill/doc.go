// Package spill holds more than memory should, in a temporary file that only this
// process can read: rows in partitions ([Spill]), and records in their order ([Log]).
package spill
