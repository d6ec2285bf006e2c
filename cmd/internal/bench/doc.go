// Package bench measures what the collector costs beside a bare handler, for
// `metiva bench collector`.
//
// Enters: the folder with the binaries and the size of a run. Leaves: a table
// and one line of JSON. In one run, in turns, it loads a bare fasthttp handler
// that answers 204 and the collector with its embedded Kafka, each a child
// process of its own, so that the CPU of each is the kernel's account of that
// process and not of the load or of the broker. Both get the same bytes: page
// views one by one and in batches of ten, with event ids made fresh for each
// sending.
//
// First the load is closed: each connection sends as soon as it has its answer.
// Then it is open, at half of what the collector reached: each request has the
// moment it is meant to be sent, and its latency counts from there, so that a
// slow answer does not hide those that had to wait behind it.
//
// Limits: loopback only, at most RunSecondsMax of load; everything it starts and
// writes is gone when it returns. Server, broker and load share the machine:
// compare ratios, and runs of one machine.
package bench
