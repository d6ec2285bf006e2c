// Package ledgercheck compares what the collectors, enrich and the sink have counted,
// again and again, and raises an alarm when they differ.
//
// Enters: the ledger of all tenants (pkg/core/analytics), hour by hour. Leaves: a row
// of ledger_checks for each tenant's hour, which the tenant's reader lists; the metric
// metiva_ledger_difference_events; and a line in the log, at level error, for each
// tenant's hour that comes not to balance, and one at level info when it does again.
//
// An event younger than Config.Settle is nobody's difference: it may be on its way.
// The hours of the last Config.Window are compared each time. An hour that did not
// balance is compared again, and stands in the metric, until it balances or is older
// than Config.KeepDifferent: Kafka has its events no longer then. Hours that nobody
// compared, because the process did not run, are made up for, as far as that. Once in
// Config.LateEvery all hours of Config.KeepDifferent are compared, for events that came
// later than the window.
//
// Dropped: what names no tenant is compared in the sum only and has no row.
//
// Limits: the comparison sees hours of receipt, so what retention or an erasure took
// from an hour while it is compared is a difference. Two processes that check do the
// work twice and find the same. Nothing here sees an event or a visitor: counts, by
// tenant, stage and reason.
package ledgercheck
