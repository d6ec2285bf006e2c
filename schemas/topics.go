package schemas

import (
	"time"
)

// Topic names. Every topic of the product is in Topics, and nothing else may
// name one.
const (
	TopicEventsCollected    = "events.collected"
	TopicEventsEnriched     = "events.enriched"
	TopicEventsDead         = "events.dead"
	TopicCapturesEnriched   = "captures.enriched"
	TopicVisitsState        = "visits.state"
	TopicVisitsEnriched     = "visits.enriched"
	TopicAccountsEnriched   = "accounts.enriched"
	TopicAccountsState      = "accounts.state"
	TopicAccountSignals     = "account.signals"
	TopicConsentRecords     = "consent.records"
	TopicLedgerEdge         = "ledger.edge"
	TopicControlSites       = "control.sites"
	TopicControlKeys        = "control.keys"
	TopicControlWithdrawals = "control.withdrawals"
	TopicControlErasures    = "control.erasures"

	TopicControlSuppressions = "control.suppressions"
)

// Topic is the definition of one Kafka topic.
type Topic struct {
	Name       string
	Partitions int
	// Retention is how long records stay; zero means the topic is compacted
	// and keeps the last record of each key.
	Retention time.Duration
	// Key says what the record key is made of, for the operator's listing.
	Key string
}

// Compacted reports whether the topic keeps the last record of each key.
func (t Topic) Compacted() bool { return t.Retention == 0 }

// eventPartitions is TenantBuckets, so that a partition of events.enriched
// holds one bucket. A multiple of it spreads large tenants over more sinks.
const eventPartitions = TenantBuckets

const day = 24 * time.Hour

// Topics lists every topic with its partitions, retention and key
// (docs/ARCHITECTURE.md has the same table with writers and readers).
func Topics() []Topic {
	return []Topic{
		{TopicEventsCollected, eventPartitions, 7 * day, "tenant bucket and visit key"},
		{TopicEventsEnriched, eventPartitions, 7 * day, "tenant bucket and visit key"},
		{TopicCapturesEnriched, 4, 7 * day, "tenant and subject"},
		{TopicVisitsState, eventPartitions, 0, "journal, from tenant, site and visitor or visit key, and the owner's epoch"},
		{TopicVisitsEnriched, eventPartitions, 7 * day, "tenant bucket and account, or else visit key"},
		{TopicAccountsEnriched, eventPartitions, 7 * day, "tenant bucket, site and account"},
		{TopicAccountsState, eventPartitions, 0, "tenant, site and account, and the owner's epoch"},
		{TopicAccountSignals, 4, 30 * day, "tenant, site and account"},
		{TopicConsentRecords, 4, 30 * day, "tenant and subject"},
		{TopicLedgerEdge, 1, 7 * day, "writer, tenant, site, minute and reason"},
		{TopicEventsDead, 4, 30 * day, "key of the source record"},
		{TopicControlSites, 1, 0, "site id"},
		{TopicControlKeys, 1, 0, "data/<key id>, subject/<company>/<subject>/<key id> or salt/<company>/<day>"},
		{TopicControlWithdrawals, 1, 0, "tenant and subject"},
		{TopicControlErasures, 1, 0, "tenant, or tenant and subject"},
		{TopicControlSuppressions, 1, 0, "tenant, or the id of everyone"},
	}
}

// Headers of a record on events.dead. Values are short closed strings and
// numbers; the payload is the source record's value, still sealed.
const (
	HeaderDeadReason    = "reason"
	HeaderDeadStage     = "stage"
	HeaderDeadTopic     = "source_topic"
	HeaderDeadPartition = "source_partition"
	HeaderDeadOffset    = "source_offset"
	HeaderDeadTimeMs    = "time_ms"
	// HeaderDeadLetter is on a record that was put back on its topic from a dead letter:
	// the letter's partition and offset on events.dead.
	HeaderDeadLetter = "dead_letter"
)
