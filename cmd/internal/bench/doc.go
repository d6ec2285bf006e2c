// Package bench measures what the collector costs beside a bare handler, for
// `metiva bench collector`.
//
// Enters: the folder with the binaries and the size of a run. Leaves: a table
// and one line of JSON. In one run, in turns, it loads a bare fasthttp handler
// that answers 204, the collector with its embedded Kafka, and a collector whose
// Kafka was stopped once it was ready and which answers from its spool. Each is a
// child process of its own, so that the CPU of each is the kernel's account of
// that process and not of the load or of the broker. All get the same bytes: page
// views one by one and in batches of ten, with event ids made fresh for each
// sending. The JSON is of the collector with Kafka.
//
// First the load is closed: each connection sends as soon as it has its answer.
// Then it is open, at half of what the collector reached: each request has the
// moment it is meant to be sent, and its latency counts from there, so that a
// slow answer does not hide those that had to wait behind it.
//
// RunOutage, for `metiva bench outage`, sends single events at a steady rate to
// two collectors behind one address, while their Kafka is stopped, killed and
// started again, and while each of them is restarted. Leaves: what was answered
// and when, the collectors' memory and spools in each phase, and how that compares
// with what stands in Kafka and in the ledger. An event is accepted by its answer
// alone; a connection that broke counts as an event not accepted.
//
// RunEnrich, for `metiva bench enrich`, records events on an embedded Kafka and has
// them read, in turns, by two bare copies of the topic (consume, produce, commit; with
// our own client, and with the library as it comes) and by a whole worker, all in this
// process, whose CPU is read by getrusage; then the chain runs alone on the recorded
// bytes, and each of its steps is timed.
//
// RunPipeline, for `metiva bench pipeline`, sends single events at a steady rate to a
// collector, behind which enrich, a sink and ClickHouse run as processes, and asks
// ClickHouse every 50 ms what is new: an event is fresh from the moment it was meant to
// be sent to the answer that has it. Each id is compared. Then a whole sink in this
// process and a bare loop of inserts write the same rows in the same batches, in turns,
// and their CPU is read by getrusage.
//
// RunCodecs, for `metiva bench codecs`, writes rows to events and to a table that has
// each column once for each codec in question, merges both and weighs the columns.
//
// Limits: loopback only, at most RunSecondsMax of load; the third server writes
// some 100 MB a second to disk while it is loaded; everything it starts and
// writes is gone when it returns. Server, broker and load share the machine:
// compare ratios, and runs of one machine.
package bench
