// Package lifecycle starts the parts of a process and stops them in flow
// order, so that what is upstream has drained before what is downstream ends.
//
// Enters: named Run functions that block until drained. Leaves: the first
// failure, or nil after a clean stop. A part that does not drain within the
// time allowed is reported by name and left behind.
package lifecycle
