package collector

import (
	"sync/atomic"
	"time"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// patience tells requests that they have waited for AckTimeout. Those that begin
// to wait within one slice of it share a channel: a timer for each costs more
// than the wait itself.
type patience struct {
	timeout time.Duration
	current atomic.Pointer[slice]
}

// slice is the requests that began to wait at about the same time.
type slice struct{ over chan struct{} }

// slicesPerTimeout is how many fit into the timeout: it is exceeded by one at most.
const slicesPerTimeout = 50

// over is closed timeout after now, or at most a slice later.
func (p *patience) over() <-chan struct{} {
	if s := p.current.Load(); s != nil {
		return s.over
	}
	s := &slice{over: make(chan struct{})}
	if !p.current.CompareAndSwap(nil, s) {
		return p.over()
	}
	length := p.timeout / slicesPerTimeout
	time.AfterFunc(length, func() { p.current.CompareAndSwap(s, nil) })
	time.AfterFunc(p.timeout+length, func() { close(s.over) })
	return s.over
}

// awaitAcks waits for the records of the request, all within one AckTimeout. It
// reports whether all of them became durable.
func (r *request) awaitAcks() (all bool) {
	var over <-chan struct{}
	expired := false
	all = true
	for i := range r.results {
		res := &r.results[i]
		if res.ack == nil {
			continue
		}
		done := isDone(res.ack)
		if !done && !expired {
			if over == nil {
				over = r.c.patience.over()
			}
			select {
			case <-res.ack.Done():
				done = true
			case <-over:
				expired = true
				done = isDone(res.ack)
			}
		}
		if !done || res.ack.Err() != nil {
			res.reason, all = metivav1.Reason_REASON_UNACKNOWLEDGED, false
		}
		res.ack = nil
	}
	return all
}

func isDone(ack Ack) bool {
	select {
	case <-ack.Done():
		return true
	default:
		return false
	}
}
