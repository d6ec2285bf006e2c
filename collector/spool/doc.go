// Package spool is the collector's disk buffer: records that Kafka has not
// acknowledged in time are kept in one directory until it has.
//
// Enters: records (topic, partition, key, value) as they would go to Kafka, so
// sealed already. Append gives them rising sequence numbers and a shared
// acknowledgement, which comes once they are written and fsynced; all who append
// meanwhile share the next fsync (group commit).
//
// Leaves: windows of records in sequence order (Next). A window is made known to
// the disk before it is sent (Plan) and moved past once Kafka has it (Done), so
// that after a crash a record that may have been sent comes back marked
// (Entry.Maybe), and one that was moved past does not come back. Segments are
// deleted once all of their records are done; an empty spool holds no record.
//
// On disk: segment files, each a header and frames with length, CRC-32C and
// sequence, and one file with the progress in two alternating slots. The CRC is
// salted with a number from the file's name, so that no record's content can pass
// for a frame. Permissions are 0700 and 0600, and a lock keeps a second process
// out.
//
// Dropped, and why: the unsynced tail a crash leaves in the last segment, which
// was never acknowledged (counted as torn); and a part of a segment that cannot
// be read, which is skipped to the next frame that can, counted as damaged and
// logged with its size. Nothing else.
//
// Faults: a write that fails is cut off again, and its records fail; the next
// append tries anew, so a full disk heals by itself. After a failed fsync the
// segment is given up, since the kernel may have forgotten what it did not write:
// what was synced before stays, what was not is never acknowledged. Both count in
// metiva_collector_spool_disk_errors_total and show in Health.
//
// Limits: Config names each with its reason. Over BytesMax Append answers
// ErrFull, and also while 32 MiB wait in memory for a disk that hangs, which
// Health calls ErrHung after 5 s.
//
// Nothing here logs or reports topics' keys or values.
package spool
