// Package reveal opens a sealed value for a person, and only after it has been
// recorded durably who sees what, and why.
//
// Enters: a Grant, the right of one verified member of one tenant to see some
// classes of values for a short time, and a Request that names the value, its
// event and the reason. Leaves: a secret.Text, which prints as *** until it is
// asked for its value.
//
// The tenant is that of the grant's claim. A request has no tenant of its own, so
// a value of another tenant does not open (seal.ErrTampered).
//
// Every attempt is handed to the audit function, also one that is denied:
//
//	granted   before the value is opened; without this record nothing is opened
//	denied    there is no grant, it ended, it is not for this, or the request is
//	          not valid; a field of the request that is not valid is left out
//	failed    granted, and then the value did not open; the ID is that of granted
//
// So "granted" means that the person may have seen the value. Errors and
// records hold ids, classes and causes, never a value.
//
// Limits: a Grant counts the values it is for; limits over several grants, and
// who may have one, belong to the packages that make grants. The reason is free
// text of the person who asks: it goes to the audit and nowhere else.
package reveal
