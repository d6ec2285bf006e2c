// Package choice reads the body of a request to /v1/consent.
//
// Enters: JSON, any bytes. Leaves: a Call, whose texts are of the characters and
// lengths a consent record or a token may have, or an error that quotes nothing.
//
// Consent is given and taken back seldom, so this reads with encoding/json's
// tokens and allocates; it is as strict as package beacon all the same: members
// stand once, in exactly their spelling, unknown ones and anything nested where a
// text is expected are refused, as is what follows the object. The caller bounds
// the body's length.
package choice
