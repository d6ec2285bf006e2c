package enrich

import "sync/atomic"

// sitesRemembered bounds what a partition remembers of sites.
const sitesRemembered = 1024

// siteCache is what one partition knows of a table of sites, so that it waits for no
// other partition to read it: all of it is forgotten when the table changes. It belongs
// to one goroutine at a time.
type siteCache[T any] struct {
	changes *atomic.Uint64 // of the table, made after it was changed
	lookUp  func(companyID, siteID string) T
	seen    uint64
	known   map[siteName]T
}

type siteName struct{ companyID, siteID string }

func newSiteCache[T any](changes *atomic.Uint64, lookUp func(companyID, siteID string) T) *siteCache[T] {
	return &siteCache[T]{changes: changes, lookUp: lookUp, known: make(map[siteName]T)}
}

// of is what the table says of a site.
func (c *siteCache[T]) of(companyID, siteID string) T {
	name := siteName{companyID, siteID}
	// Read before the table is: what is looked up now may be newer, never older.
	if now := c.changes.Load(); now != c.seen || len(c.known) >= sitesRemembered {
		clear(c.known)
		c.seen = now
	}
	known, ok := c.known[name]
	if !ok {
		known = c.lookUp(companyID, siteID)
		c.known[name] = known
	}
	return known
}
