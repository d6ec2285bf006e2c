// Package kafka is the only way of this product to and from Kafka. It sits on
// segmentio/kafka-go's transport, group membership and administration, and
// adds what those lack.
//
// What it offers:
//
//   - Client: connections, topics, offsets. Lazy: nothing is dialled before
//     the first call.
//   - Producer: an idempotent batcher. Records enter by Produce, are copied at
//     once, leave in one ordered stream per partition, and are acknowledged
//     (acks=all) once per batch. A batch is retried with the same bytes, so the
//     broker drops repetitions. Memory is bounded: ErrBufferFull. Batches for
//     one broker share a request.
//   - Consumer: group membership with one handler per owned partition. Claim
//     gives batches, makes their range durable before their effects (Plan) and
//     moves the offset after them (Commit), both fenced by the generation.
//   - Table: the state of a compacted topic, read from its start by everyone.
//
// What is dropped, and why: control batches and nothing else. A batch that can
// not be delivered within DeliveryTimeout fails towards its caller; one that may
// or may not have been appended says so (ErrOutcomeUnknown) and is never sent
// again under a new producer id. Records that retention removed before they
// were read are counted by metiva_kafka_consumer_skipped_records_total.
//
// Partitions that share a request wait for the same answer, and for nothing else
// of each other: each has its own verdict, repetition and pause. A broker waits
// for the followers of a shared request half a second at most; a partition that
// took longer, or a request that got no answer, goes on alone until it is quick
// again. So a slow partition costs its neighbours half a second once, and a
// connection without answers RequestTimeout once.
//
// A group consumer never skips what it has not read, except over offsets that
// retention removed; only a Table takes a gap at the end of its topic for
// compacted. A broker's quota slows reading down and is no error.
//
// Limits: brokers from Kafka 2.3 on (fetch version 11); message format 2 only;
// no transactions, and nothing here may be written transactionally, because
// aborted records are not filtered on reading; eager rebalancing.
//
// Nothing here logs or reports keys, values or headers.
package kafka
