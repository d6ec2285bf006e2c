// Package scorer turns visits into accounts' days and signals (package score) on
// Kafka.
//
// Enters: visits.enriched, shared by the consumer group of all scorers; control.sites
// (key pages, thresholds, time zones) and control.erasures. Leaves: accounts.enriched
// (a score of an account, site and day, with its parts), account.signals, and
// accounts.state, which is this package's own memory.
//
// All visits of an account are in one partition, and the partition's owner holds the
// states of its accounts in memory. A batch has its signals and days acknowledged
// first, then the states, then its offsets are committed. A crash in between repeats
// the batch, on states from before or after it: visits that a state knows change
// nothing, the others give the same days and signals again, with the same ids and
// versions. So a day may come twice with the same version, and a signal twice with
// the same id, and nothing is lost.
//
// The next owner of a partition reads its part of accounts.state to the end before
// the first batch. Keys have the epoch of their owner behind the account, so that a
// former owner that was thought dead and woke up overwrites nothing; of several owners'
// records of one account the highest version counts (ADR 0040).
//
// A visit that makes the score panic is a dead letter; its account is made again from
// its state and the visits that the batch had brought before.
//
// What is dropped, and why: visits without a shown account (confidence below 0.6),
// and those of erased tenants; what cannot be read goes to events.dead. A state is
// removed, with a tombstone, when the account has not come for as long as its tenant
// keeps events, when its tenant is erased, or when it is the one unseen for longest
// and the states of a partition have more than Config.StateBytesMax. An account whose
// state was removed is first seen again, under the id of its former signal.
//
// Nothing here logs or reports names, paths or values of records.
package scorer
