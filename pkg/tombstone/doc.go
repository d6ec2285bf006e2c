// Package tombstone knows who was erased: the records of control.erasures in memory.
//
// Enters: records of control.erasures, of a tenant or of one subject of it, as
// kafka.Table gives them. Leaves: whether a tenant, or a subject of one, was erased.
// A subject is a visitor id, or the receipt id of a captured person without one.
//
// A record that cannot be read is an error and changes nothing. An empty value takes
// its record's erasure back, which nobody publishes: a tombstone is for ever.
//
// Limits: some 100 bytes of memory for each erased subject.
package tombstone
