// Package kafkatest gives tests a Kafka broker in their own process, with
// faults on demand. Each broker has free ports, its own data and ends with its
// test.
//
// It imports no other package of this repository, so that pkg/kafka itself can
// be tested with it.
package kafkatest
