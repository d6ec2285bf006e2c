// Package stack runs all of Metiva on one machine: the embedded engines, the
// four processes, and what a first start needs (keys, the company database,
// topics, migrations, a demo agency). `metiva up`, `metiva demo` and the tests
// of the whole pipeline use it.
//
// Enters: a data directory, a cache directory, the folder with the binaries,
// and addresses of real servers for engines that are not to be embedded.
// Leaves: running child processes, each started again after a crash, and all
// gone once Run has returned. Logs are in the data directory.
//
// Limits: one stack per data directory, held by a lock that the kernel frees
// when the process ends, however it ends.
package stack
