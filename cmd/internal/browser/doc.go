// Package browser holds the tests of the snippet in a real browser against a
// running Metiva: headless Chromium opens the demo website's pages, a collector
// takes what the script sends, and the tests read what ClickHouse finally holds,
// the counts of the edge, and the records of consent and captures in Kafka.
//
// Enters: the embedded engines and a Chromium (make engines chromium). Leaves:
// nothing. There is one stack and one browser for all tests; each test has a site,
// an origin, a network and a browser profile of its own, so that they run beside
// each other.
//
// A proxy stands between the browser and the collector, as a load balancer would.
// It names the visitor's network, counts what passed, and can be switched off.
//
// Limits: one browser engine. What Chromium does not have (Global Privacy Control)
// is a double in the page.
package browser
