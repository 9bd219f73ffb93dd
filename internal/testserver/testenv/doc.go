// Package testenv says what a test does when the machine lacks something it
// needs or when only fast tests are wanted, and where tests keep what is costly to fetch or to build.
//
// Three environment variables steer it: CI=true makes a missing requirement a
// failure, STETL_SKIP_LOG names a file that collects one line per skip, and
// STETL_TEST_CACHE moves the cache.
package testenv
