// Package postgres gives tests a real, throw-away PostgreSQL server.
//
// [Start] runs one cluster per test process, out of the PostgreSQL that the
// machine has or, where it has none, one that it fetches. The cluster ends with
// the test process, also when that is killed. Tests make databases of their own
// on it and so can run in parallel.
package postgres
