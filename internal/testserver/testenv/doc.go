// Package testenv says what a test does when the machine lacks something it
// needs or when only fast tests are wanted, and where tests keep what is costly to fetch or to build.
//
// Environment variables steer it: CI=true makes a missing requirement a failure, and
// STETL_TEST_CACHE moves the cache. Those of a run of tools/test.sh are
// STETL_WAIT_LOG, a file that collects one line per server that is waited for,
// STETL_TEST_RUN, which tells of the end of the run, and STETL_TEST_ONCE, by which what
// was skipped is tested again.
package testenv
