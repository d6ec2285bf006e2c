// Package kafka runs a Kafka broker inside this process, for development,
// tests and single-machine use: franz-go's kfake with a data directory and an
// fsync for every batch. It speaks the real protocol.
//
// Enters: a data directory and a loopback address. Leaves: a broker that
// answers there until the context ends, and finds its topics, records, offsets
// and producer sequences again at the next start, after SIGKILL too.
//
// Limits: one broker, no replication (acks=all is one append), no quotas,
// errors of an fsync are not reported by kfake, loopback only, no
// authentication. Not for production: configure the brokers of a real cluster
// instead.
//
// A supervisor starts it as a child process and uses Probe as readiness check.
package kafka
