// Package dnstest is a name server on loopback for tests: real datagrams and
// connections, answers from a table, and every fault a resolver can have.
//
// Enters: questions over UDP and TCP. Leaves: what the zone says, or what a Fault asks
// for. Names are made up and addresses those of the test.
package dnstest
