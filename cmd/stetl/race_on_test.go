//go:build race

package main

// raceDetector makes password hashes take ten times as long.
const raceDetector = true
