// Package archtest holds the house's walls: which package may import which,
// which package alone may import a driver, what a binary must not link, and
// the form every package has (a doc.go, no init, no file too long, no reading
// of the environment outside cmd).
//
// Enters: what `go list -deps -json` says of the module, and its source files.
// Leaves: a list of breaches, each with the rule and the reason. Rules is the
// one table; docs/ARCHITECTURE.md shows it between markers, written by
// `go test ./pkg/archtest -update`.
package archtest
