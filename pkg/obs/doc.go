// Package obs is how a process is watched: its logger, its metrics registry,
// its readiness, and the admin listener that serves them.
//
// Enters: facts from the parts of a process. Leaves: JSON log lines, and
// /healthz, /readyz, /metrics and /debug/pprof on a listener of their own,
// never the public one. Nothing here takes a value from a request.
package obs
