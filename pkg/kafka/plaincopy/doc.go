// Package plaincopy copies a topic with segmentio/kafka-go as it comes: its Reader in a
// consumer group, its Writer, and a commit once the batch is acknowledged. It is what
// somebody who knows the library writes without a client of their own, and exists for
// one purpose: `metiva bench enrich` compares the worker with it, beside the copy by
// package kafka. No process of the product links it (archtest).
//
// Enters: the records of one topic, from the first not committed on. Leaves: the same
// keys and values, in the same partitions and order, on another topic. Headers and times
// are left out, as the other copy does. Nothing is dropped, but the Writer is not
// idempotent: after an error of the broker a record may be there twice.
//
// How it is set, and why: one Reader with a queue of 10,000 messages, so that all
// partitions are read while a batch is written; fetches of up to 2 MiB, as package kafka
// has them by default; up to 10,000 messages a round, written by one call that groups
// them by partition; batches of the Writer of at most 1,000 messages, 5 ms old, packed
// with snappy and acknowledged by all replicas; one synchronous commit a round, of the
// last message of each partition alone. The library's own values are for other loads:
// queues and batches of 100 messages, batches that wait a second.
//
// Limits: no TLS and no SASL; the topics exist and have the same number of partitions;
// memory is some 20,000 messages, the queue and a round.
package plaincopy
