// Package testenv says what a test does when the machine lacks something it
// needs or when only fast tests are wanted, and where tests keep what is costly to fetch or to build.
//
// Environment variables steer it: CI=true makes a missing requirement a failure, and
// STETL_TEST_CACHE moves the cache. Those of a run of tools/test.sh are
// STETL_SKIP_LOG and STETL_WAIT_LOG, files that collect one line per skip and per
// server that is waited for, and STETL_TEST_RUN, which tells of the end of the run.
package testenv
