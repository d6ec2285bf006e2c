package visit

// tail is what the next event is compared with: the visit so far.
type tail struct {
	visibleToMs int64
	midnightMs  int64
	campaign    Campaign
	viewed      bool
}

// begins reports whether e begins another visit.
func (t *tail) begins(r *Rules, e *Entry) bool {
	switch {
	case e.fromMs()-t.visibleToMs >= r.idleMs:
		return true
	case e.AtMs >= t.midnightMs && e.VisibleMs == 0:
		return true
	}
	return r.campaign && t.viewed && e.isPageView() && !e.Campaign.isZero() && e.Campaign != t.campaign
}

// first makes e the visit's first event.
func (t *tail) first(r *Rules, e *Entry) {
	*t = tail{visibleToMs: e.AtMs, midnightMs: r.midnightAfter(e.AtMs)}
	t.next(e)
}

// next adds an event to the visit.
func (t *tail) next(e *Entry) {
	t.visibleToMs = max(t.visibleToMs, e.AtMs)
	if e.isPageView() {
		t.viewed = true
		if !e.Campaign.isZero() {
			t.campaign = e.Campaign
		}
	}
}

// base is the visit so far whose events are folded away.
type base struct {
	tail tail
	sum  sum
}

// spansOf divides entries, which are in order, into visits: the number of each
// one's entries. With a base the first span goes on from it, and may have none.
func spansOf(dst []span, r *Rules, from *base, entries []Entry) ([]span, tail) {
	var t tail
	dst = dst[:0]
	if from != nil {
		t = from.tail
		t.midnightMs = r.midnightAfter(from.sum.startedMs())
		dst = append(dst, span{})
	}
	for i := range entries {
		e := &entries[i]
		if len(dst) == 0 || t.begins(r, e) {
			dst = append(dst, span{})
			t.first(r, e)
		} else {
			t.next(e)
		}
		dst[len(dst)-1].n++
	}
	return dst, t
}

// span is one visit of a journal.
type span struct {
	n      int
	offset int64 // of the record that last changed it
	dirty  bool  // not sent since
}
