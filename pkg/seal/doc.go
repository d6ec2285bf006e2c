// Package seal holds everything that keeps a visitor's address and other
// personal values unreadable outside the two processes that may open them.
//
// Enters: a received address or a byte value, with the Binding of the event it
// belongs to. Leaves: an opaque blob, which opens only under the same binding
// and only with the resolver's private key.
//
// An address is cut to its network (/24 for IPv4, /48 for IPv6, and for 6to4 the
// /24 of the IPv4 address in it) when the Address is made; the host part is gone
// before anything else can see it. With the precision "network" (ADR 0020) an IPv4
// address in a known business network of /25 to /29 is sealed as that network, and
// still hashed as its /24. What is left has no String, Format, Marshal or
// comparison, and neither fmt nor a reflecting encoder shows a byte of it. Package
// leaktest holds the whole product to that.
//
// # Keys
//
// A Sealer (collector) makes one data key per tenant and UTC day, for at most
// 2^30 messages. It wraps the key with HPKE to the resolver's public key,
// publishes it, and uses it only after the publication was acknowledged; it
// never keeps a copy that outlives the rotation. Call PrepareAhead and Forget
// every minute or so: the next day's key is made an hour ahead, so that nobody
// waits for Kafka at midnight. PublishKey may also return once the record is
// durable on this machine, if it is certain to reach control.keys before the
// events sealed under it.
//
// A form's values are sealed under a SubjectKey, fresh for each capture and bound
// to one person of one tenant. Whoever opened them seals what became of them under the
// same key (ResealField), as another field: erasing the subject destroys both.
//
// An Opener (enrich, core) holds the private keys, the current one and former
// ones, and reads the wrapped keys from control.keys.
//
// A key file holds a key itself, or an envelope: the key encrypted by a KeyKeeper
// (pkg/seal/kms), bound to its purpose, grade and id. A KeyMaterial read from one
// gives no key until Open.
//
// # Destruction
//
// A Shredder writes tombstones for every key of a subject or a tenant. An Opener
// that has read one opens nothing of that key any more (ErrShredded), also where
// an open was under way in another goroutine, and a Sealer seals nothing more
// under it. The caller's part: publish the erasure on control.erasures first, run
// a Shredder that reads both topics in one process at least, and have it destroy
// what appears later, such as the key of a capture that was on its way.
//
// # Format
//
// The blob is
//
//	version (1) | key id (8, big endian) | nonce (12) | ciphertext | tag (16)
//
// sealed with AES-256-GCM under a random nonce; its additional data is the
// length-prefixed binding, so that a blob moved to another event, tenant, site,
// field or subject does not open: ErrTampered. A wrapped key is bound to its
// record in the same way: a record that was changed, or moved to another subject
// or tenant, leaves its key unknown (ErrUnknownKey).
//
// # Limits
//
// A tombstone that Kafka has compacted away is not seen by an Opener started
// later; it then answers ErrUnknownKey instead of ErrShredded. Both mean the
// value cannot be opened. A restored copy of control.keys brings destroyed keys
// back until a Shredder has read it. A key id is 64 random bits; of two records
// with one id an Opener keeps the first and reports the second. Go cannot wipe a
// key schedule from memory; a forgotten key lives until the garbage collector
// reuses its memory.
package seal
