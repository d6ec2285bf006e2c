// Package reload reads the data files of enrich, and reads them again when they are
// replaced, without a stop and without an event dropped.
//
// Enters: the directory of the address databases, and the operator's lists of
// suppressions, company rows and referrer spam. Leaves: the open databases, and the
// decision chain and the tables of sources made from the lists, each time they
// change.
//
// Files are looked at every so often: their names, sizes, times and inodes. A set
// that is the same at two looks in a row and is not the one in use is read and
// checked as `metiva geo check` does: every database to its end, and the labelled
// set of addresses, of which none may become a false company. Then it takes the
// place of the old one, all of it or nothing; batches under way end on what they
// began with. A set that does not pass is refused once, told in the log and by
// metiva_enrich_data_refused, and the old one stays.
//
// Limits: databases and lists are held in memory as a whole, both sets of them while one
// is checked. What is written over a file does no harm to a process that has read it, but
// one that starts meanwhile reads half of it: a file is best replaced by another one
// under its name (mv).
package reload
