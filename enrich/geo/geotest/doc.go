// Package geotest builds address databases for tests: from the installed data
// package, or from a few rows.
//
// Enters: a testing.TB. Leaves: files in its temporary folder.
package geotest
