package collector

import (
	"time"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// tally gathers what requests that end together are counted as: most of them are
// events accepted of one site and minute. The zero tally is empty. It counts nothing
// before flush.
type tally struct {
	c *Collector

	companyID, siteID string
	minute            int64 // since 1970
	received          time.Time
	reason            metivav1.Reason
	events            int

	inFlight int64 // events to be counted out

	status   int
	requests int // for events, answered so
}

// count adds n events of one outcome.
func (t *tally) count(r *request, reason metivav1.Reason, n int) {
	companyID, siteID, minute := r.site.companyID, r.site.siteID, r.received.Unix()/60
	if t.events > 0 && (t.reason != reason || t.minute != minute || t.siteID != siteID || t.companyID != companyID) {
		t.flushEvents()
	}
	if t.events == 0 {
		t.c, t.companyID, t.siteID, t.minute, t.received, t.reason = r.c, companyID, siteID, minute, r.received, reason
	}
	t.events += n
}

// leave adds the events of a request that are not in flight any more.
func (t *tally) leave(r *request) {
	t.c = r.c
	t.inFlight += r.entered
	r.entered = 0
}

// answer adds a request for events and the status of its answer.
func (t *tally) answer(r *request) {
	if t.requests > 0 && t.status != r.status {
		t.flushRequests()
	}
	t.c, t.status = r.c, r.status
	t.requests++
}

func (t *tally) flush() {
	if t.inFlight != 0 {
		t.c.leave(t.inFlight)
		t.inFlight = 0
	}
	t.flushEvents()
	t.flushRequests()
}

func (t *tally) flushEvents() {
	n := t.events
	if t.events = 0; n > 0 {
		defer t.survive()
		t.c.count(t.companyID, t.siteID, t.received, t.reason, n)
	}
}

func (t *tally) flushRequests() {
	n := t.requests
	if t.requests = 0; n > 0 {
		defer t.survive()
		t.c.metrics.requestsOf(routeEvents, t.status, n)
	}
}

// survive lets a panic while counting cost what was counted then, and no answer: no
// server stands above those who count here that would survive it.
func (t *tally) survive() {
	if p := recover(); p != nil {
		t.c.panicked(p)
	}
}
