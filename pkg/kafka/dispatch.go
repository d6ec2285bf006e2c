package kafka

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// requestBytesMax bounds the records of a request, before compression. It
	// always holds one batch.
	requestBytesMax = 4 << 20
	// outletRequests is how many requests may be under way to a broker before
	// the records for it have to wait crowdedLingers times as long for the
	// next: partitions that have come apart leave together again.
	outletRequests = 2
	crowdedLingers = 4
)

// board is where lanes with something to send wait to be taken.
type board struct {
	wake  chan struct{}
	mu    sync.Mutex
	lanes []*lane
	timer *time.Timer
	due   time.Time // of the timer; zero: not running
}

func newBoard() *board {
	b := &board{wake: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	b.timer.Stop()
	return b
}

// add puts lanes on the board, of which the first is due at that time.
func (b *board) add(now, due time.Time, lanes ...*lane) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lanes = append(b.lanes, lanes...)
	if b.due.IsZero() || due.Before(b.due) {
		b.due = due
		b.timer.Reset(due.Sub(now))
	}
}

// poke makes the dispatcher look now.
func (b *board) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// clear takes all lanes off the board and gives it an empty slice instead.
func (b *board) clear(empty []*lane) []*lane {
	b.mu.Lock()
	defer b.mu.Unlock()
	lanes := b.lanes
	b.lanes, b.due = empty, time.Time{}
	b.timer.Stop()
	return lanes
}

// outlet is the way to one broker, as the dispatcher sees it.
type outlet struct {
	broker   int32
	underWay atomic.Int32 // requests with several partitions

	// Used while lanes are being taken.
	due   bool
	lanes []*lane
}

// dispatcher takes lanes from the board and makes requests of them: one for
// each broker, with everything that waits for it. It never waits for the
// network: requests and preparations have goroutines of their own, and bring
// their lanes back to the board. So a partition waits only for those it shares
// a request with.
type dispatcher struct {
	p       *Producer
	outlets map[int32]*outlet
	unready *outlet // lanes without identity or trusted leader
	spare   []*lane
	wg      sync.WaitGroup
}

func newDispatcher(p *Producer) *dispatcher {
	return &dispatcher{p: p, outlets: map[int32]*outlet{}, unready: &outlet{broker: -1}}
}

// run dispatches until closing is closed and nothing is left.
func (d *dispatcher) run(closing <-chan struct{}) {
	defer d.wg.Wait()
	b := d.p.board
	for end := closing; ; {
		select {
		case <-b.timer.C:
		case <-b.wake:
		case <-end:
			end = nil
		}
		d.depart(end == nil)
		if end == nil && d.closeLanes() {
			return
		}
	}
}

func (d *dispatcher) closeLanes() bool {
	all := true
	for _, l := range *d.p.lanes.Load() {
		all = l.close() && all
	}
	return all
}

// depart takes the lanes that are due, and with each all that wait for the same
// broker, so that they share a request.
func (d *dispatcher) depart(closing bool) {
	now := d.p.client.now()
	waiting := d.p.board.clear(d.spare)
	table := d.p.leaders.table.Load()
	for _, l := range waiting {
		l.outlet = d.outletOf(l, table)
		linger := d.p.cfg.Linger
		if closing {
			linger = 0
		} else if l.outlet.underWay.Load() >= outletRequests {
			linger *= crowdedLingers
		}
		l.due = l.ready(now, linger)
		if l.under == nil && !l.due.After(now) {
			l.outlet.due = true
		}
	}
	stay := waiting[:0]
	var next time.Time
	for _, l := range waiting {
		if !l.due.After(now) || l.under == nil && l.outlet.due {
			d.takeLane(l, now)
			continue
		}
		stay = append(stay, l)
		if next.IsZero() || l.due.Before(next) {
			next = l.due
		}
	}
	d.send(d.unready, now)
	for _, o := range d.outlets {
		d.send(o, now)
	}
	if len(stay) > 0 {
		d.p.board.add(now, next, stay...)
	}
	clear(waiting)
	d.spare = waiting[:0]
}

// outletOf gives the way a lane would take now.
func (d *dispatcher) outletOf(l *lane, table *leaderTable) *outlet {
	if !l.known || table == nil || !table.at.After(l.distrust) {
		return d.unready
	}
	broker := table.leader(l.topic, l.partition)
	if broker < 0 {
		return d.unready
	}
	o := d.outlets[broker]
	if o == nil {
		o = &outlet{broker: broker}
		d.outlets[broker] = o
	}
	return o
}

// takeLane puts a lane into the next request of its outlet, or into one of its
// own: when it holds others up, and when too little of its time is left to wait
// for a request as long as others may.
func (d *dispatcher) takeLane(l *lane, now time.Time) {
	b := l.take()
	left := l.deadline(b).Sub(now)
	switch {
	case left <= 0:
		l.giveUp()
		d.p.land(l)
	case l.outlet == d.unready:
		l.outlet.lanes = append(l.outlet.lanes, l)
	case l.alone, left < d.p.client.cfg.RequestTimeout && left < d.p.cfg.DeliveryTimeout/2:
		d.ship(l.outlet, []*lane{l}, now)
	default:
		l.outlet.lanes = append(l.outlet.lanes, l)
	}
}

// send makes requests of what an outlet has collected.
func (d *dispatcher) send(o *outlet, now time.Time) {
	o.due = false
	if len(o.lanes) == 0 {
		return
	}
	if o == d.unready {
		lanes := slices.Clone(o.lanes)
		d.wg.Go(func() { d.p.prepare(lanes, now) })
	} else {
		slices.SortFunc(o.lanes, compareLanes)
		size, from := 0, 0
		for i, l := range o.lanes {
			n := len(l.under.records)
			if i > from && size+n > requestBytesMax {
				d.ship(o, o.lanes[from:i], now)
				size, from = 0, i
			}
			size += n
		}
		d.ship(o, o.lanes[from:], now)
	}
	clear(o.lanes)
	o.lanes = o.lanes[:0]
}

func compareLanes(a, b *lane) int {
	if a.topic != b.topic {
		return cmp.Compare(a.topic, b.topic)
	}
	return cmp.Compare(a.partition, b.partition)
}

// ship sends one request, in the background.
func (d *dispatcher) ship(o *outlet, lanes []*lane, now time.Time) {
	r := d.p.newRequest(o.broker, lanes)
	merged := len(lanes) > 1
	if merged {
		o.underWay.Add(1)
	}
	d.wg.Go(func() {
		if err := d.p.deliver(r, now); err != nil {
			d.p.noteBroken(err)
		}
		crowded := merged && o.underWay.Add(-1) == outletRequests-1
		d.p.release(r)
		if crowded {
			d.p.board.poke()
		}
	})
}

// land brings lanes back that were taken.
func (p *Producer) land(lanes ...*lane) {
	now := p.client.now()
	var first time.Time
	back := lanes[:0]
	for _, l := range lanes {
		due := l.land(now)
		if due.IsZero() {
			continue
		}
		back = append(back, l)
		if first.IsZero() || due.Before(first) {
			first = due
		}
	}
	if len(back) > 0 {
		p.board.add(now, first, back...)
	}
	p.reportBuffered()
	if p.stopping.Load() {
		p.board.poke()
	}
}
