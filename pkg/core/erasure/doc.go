// Package erasure erases a visitor, a contact or a whole tenant, for good, and proves
// it with a signed certificate.
//
// Enters: a tenant's claim and a Subject: a visitor id, the id captures name their
// person by, or nothing for the tenant. Leaves: tombstones on control.erasures,
// control.withdrawals and control.keys, rows of ClickHouse and Postgres that are no
// more, and a Certificate, which names the subject by a keyed hash and counts what was
// erased.
//
// # Steps
//
// requested → tombstoned → keys_destroyed → rows_deleted → verified → certified. A step
// is done again as a whole when the process ended inside it, here or elsewhere, and
// doing it twice changes nothing: Erase of the same subject goes on where it stopped.
//
//   - tombstoned: of a tenant, it is suspended and its sites are unknown to collectors
//     first. The erasure stands on control.erasures, acknowledged, and in the outbox, from
//     which core publishes it again if Kafka loses it. From here on enrich and sink bring
//     nothing back. A visitor's grants are withdrawn besides, so that their browser
//     forgets the id.
//   - keys_destroyed: every key of the subject or the tenant on control.keys has its
//     tombstone (seal.Shredder). What was sealed under them cannot be opened any more, in
//     Kafka, dead letters, the spool, ClickHouse and backups alike.
//   - rows_deleted: once the sinks have written all that was on its way (Settle), the
//     rows are counted, then deleted in every table (analytics.Eraser); of the compacted
//     topics the states of visits and accounts and a tenant's withdrawals get tombstones;
//     of a tenant the rows of Postgres go, and its name, and its sites and networks leave
//     control.sites and control.suppressions.
//   - verified: no row is left by id, no deletion is under way. Rows that came meanwhile
//     are deleted again, a few times.
//   - certified: the certificate is signed (Ed25519) and stored with the erasure.
//
// An erasure that is certified is looked at again when it is asked for again: with
// anything of the subject present it starts over, as its next round.
//
// What is erased is counted once, over all attempts and rounds (tally). Of one erasure one
// process works at a time (tenant.Worker.Lock); a Job goes on with what was interrupted.
//
// # What stays, and why
//
// Records of topics with a retention, until it is over (schemas.Topics): sealed values
// in them do not open, the visitor id in them is refused on every way back. The
// tombstone itself with the random id, for ever. Counts of a visitor that name nobody:
// drops, the ledger, days of accounts. Of a tenant its id, state and certificates.
// Parts that ClickHouse has outdated stay on its disk for some minutes; the
// certificate counts them.
//
// # Limits
//
// A contact is known by its subject id; core keeps no contacts yet that could be
// found by an e-mail address. Whoever has a copy of the data and of control.keys from
// before the erasure can open it with the resolver's private key (docs/operations/keys.md).
package erasure
