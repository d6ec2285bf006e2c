// Package app is what every main of the product does: read the configuration,
// answer --check and --help, watch for signals, run, report, exit.
//
// Enters: arguments, environment, signals. Leaves: an exit code: 0 for a clean
// stop, 1 for a failure, 2 for a configuration that is at fault. The wiring of
// each process is in the package of its name below this one.
package app
