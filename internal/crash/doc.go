// Package crash kills runs: its tests end the process of the host, or that of the
// plugin, at one moment after the other, and expect that the next run ends as if
// nothing had happened.
package crash
