// Package seal holds everything that keeps a visitor's address and other
// personal values unreadable outside the two processes that may open them.
//
// Enters: a received address or a byte value, with the Binding of the event it
// belongs to. Leaves: an opaque blob, which opens only under the same binding
// and only with the resolver's private key.
//
// An address is cut to its network (/24 for IPv4, /48 for IPv6) when the
// Address is made; the host part is gone before anything else can see it. What
// is left has no String, Format, Marshal or comparison, and neither fmt nor a
// reflecting encoder shows a byte of it.
//
// A Sealer (collector) makes one data key per tenant and UTC day, for at most
// 2^30 messages. It wraps the key with HPKE to the resolver's public key,
// publishes it, and uses it only after the publication was acknowledged; it
// never keeps a copy that outlives the rotation. An Opener (enrich, core) holds
// the private key and reads the wrapped keys from control.keys. Destroying a
// key there makes everything sealed under it unreadable: ErrShredded.
//
// The blob is
//
//	version (1) | key id (8, big endian) | nonce (12) | ciphertext | tag (16)
//
// sealed with AES-256-GCM under a random nonce; its additional data is the
// length-prefixed binding, so that a blob moved to another event, tenant, site
// or field does not open: ErrTampered.
//
// Limits: a tombstone that Kafka has compacted away is not seen by an Opener
// started later; it then answers ErrUnknownKey instead of ErrShredded. Both
// mean the value cannot be opened. Go cannot wipe a key schedule from memory;
// a forgotten key lives until the garbage collector reuses its memory.
package seal
