// Package device reads the coarse class of a device, its browser family and
// its system family from a user agent.
//
// Enters: the user agent of one event, opened in memory. Leaves: values of
// closed lists, never a version or a model, so that they do not tell visitors
// apart. Nothing of the agent is kept: the copy made for comparing is cleared.
//
// Limits: an iPad that asks for desktop pages calls itself a Mac and counts as
// desktop; only the first agentBytesMax bytes count.
package device
