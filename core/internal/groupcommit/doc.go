// Package groupcommit has what several goroutines write at the same time share one
// transaction, because making it durable is what takes long.
package groupcommit
