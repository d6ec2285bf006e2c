// Package supervise keeps a child process running: the embedded engines, and
// the product's own processes under `metiva up`.
//
// Enters: what to run, how to see that it is ready, how to stop it. Leaves: a
// running process that is started again after a crash, and nothing once Run
// has returned: no child, no process-id file. A process left over by a killed
// run is ended before the first start, if it really is the one we started.
//
// Limits: restarts wait 100 ms, doubling to 5 s; a stop takes at most
// StopTimeout, then the process is killed.
package supervise
