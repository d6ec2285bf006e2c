// Package verdict asks the databases and the decision chain about many networks
// at once, for operators: a labelled set of addresses with the score of a set of
// databases over it, and what changes between two sets of databases.
//
// Enters: open databases and a chain. Leaves: decisions and counts. Nothing of a
// visitor comes here: the addresses are those of the labelled set, of an
// operator's own question, or the boundaries of public databases.
//
// Limits: Diff walks the databases with bounded memory, apart from the accounts
// that changed; it takes seconds for the default database, minutes for a
// commercial one.
package verdict
