package bench

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// load is what one phase sends to one server.
type load struct {
	address     string
	visitors    visitors
	connections int
	events      int     // page views of a request
	rate        float64 // requests a second; 0: as fast as answers come
	warm        time.Duration
	measure     time.Duration
}

// answerWait is how long the last answers of a phase may take.
const answerWait = 15 * time.Second

// sent is what a phase has sent in all, warming up included, and how long each
// measured request took.
type sent struct {
	requests, events int64
	refused          int64           // answers that are not 2xx
	latencies        []time.Duration // sorted
}

// quantile returns the q-th part of the latencies.
func (s sent) quantile(q float64) time.Duration {
	if len(s.latencies) == 0 {
		return 0
	}
	return s.latencies[int(q*float64(len(s.latencies)-1))]
}

// run opens the connections and keeps them busy. begin is called when the warm
// up is over and end when the measured time is, each with a count of the
// requests answered so far.
func (l load) run(ctx context.Context, begin, end func(answered func() int64) error) (sent, error) {
	workers, err := l.dial(ctx)
	defer func() {
		for _, w := range workers {
			_ = w.conn.Close()
		}
	}()
	if err != nil {
		return sent{}, err
	}
	answered := func() (n int64) {
		for _, w := range workers {
			n += w.answered.Load()
		}
		return n
	}
	start := time.Now()
	from, until := start.Add(l.warm), start.Add(l.warm+l.measure)
	group, running := errgroup.WithContext(ctx)
	release := context.AfterFunc(running, func() {
		for _, w := range workers {
			_ = w.conn.SetDeadline(time.Now())
		}
	})
	defer release()
	for i, w := range workers {
		if err := w.conn.SetDeadline(until.Add(answerWait)); err != nil {
			return sent{}, fmt.Errorf("setting the deadline of a connection: %w", err)
		}
		if l.rate > 0 {
			every := time.Duration(float64(time.Second) * float64(l.connections) / l.rate)
			first := start.Add(every * time.Duration(i) / time.Duration(l.connections))
			group.Go(func() error { return w.open(running, first, every, from, until) })
		} else {
			group.Go(func() error { return w.closed(from, until) })
		}
	}
	group.Go(func() error { return at(running, from, func() error { return begin(answered) }) })
	group.Go(func() error { return at(running, until, func() error { return end(answered) }) })
	err = group.Wait()
	if ctx.Err() != nil {
		return sent{}, ctx.Err() // what the connections say of it adds nothing
	}
	if err != nil {
		return sent{}, err
	}
	var s sent
	for _, w := range workers {
		s.requests += w.answered.Load()
		s.refused += w.refused
		s.latencies = append(s.latencies, w.latencies...)
	}
	s.events = s.requests * int64(l.events)
	slices.Sort(s.latencies)
	return s, nil
}

// at calls do at a moment.
func at(ctx context.Context, moment time.Time, do func() error) error {
	select {
	case <-time.After(time.Until(moment)):
		return do()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// worker is one connection with its requests.
type worker struct {
	conn      net.Conn
	reader    *bufio.Reader
	requests  []*request
	next      int
	ids       *idSource
	answered  atomic.Int64
	refused   int64
	latencies []time.Duration
}

const (
	answerBufferBytes = 2 << 10
	latenciesFirst    = 1 << 10
)

func (l load) dial(ctx context.Context) (workers []*worker, err error) {
	var d net.Dialer
	for i := range l.connections {
		conn, err := d.DialContext(ctx, "tcp", l.address)
		if err != nil {
			return workers, fmt.Errorf("opening connection %d: %w", i+1, err)
		}
		w := &worker{
			conn: conn, reader: bufio.NewReaderSize(conn, answerBufferBytes), ids: newIDSource(),
			latencies: make([]time.Duration, 0, latenciesFirst),
		}
		for j := range requestsPerConnection {
			w.requests = append(w.requests, l.visitors.of(i*requestsPerConnection+j, l.events))
		}
		workers = append(workers, w)
	}
	return workers, nil
}

// send sends the next request and waits for its answer.
func (w *worker) send(now time.Time) error {
	r := w.requests[w.next%len(w.requests)]
	w.next++
	r.freshen(now, w.ids)
	if _, err := w.conn.Write(r.raw); err != nil {
		return fmt.Errorf("sending a request: %w", err)
	}
	status, err := readAnswer(w.reader)
	if err != nil {
		return err
	}
	if status/100 != 2 {
		w.refused++
	}
	w.answered.Add(1)
	return nil
}

// closed sends as soon as the answer before it is there.
func (w *worker) closed(from, until time.Time) error {
	for now := time.Now(); now.Before(until); {
		if err := w.send(now); err != nil {
			return err
		}
		answered := time.Now()
		if !now.Before(from) {
			w.latencies = append(w.latencies, answered.Sub(now))
		}
		now = answered
	}
	return nil
}

// open sends at its moments, whatever the answers do. A request that has to
// wait for the one before it is late, and that counts.
func (w *worker) open(ctx context.Context, moment time.Time, every time.Duration, from, until time.Time) error {
	timer := time.NewTimer(time.Until(moment))
	defer timer.Stop()
	for ; moment.Before(until); moment = moment.Add(every) {
		if wait := time.Until(moment); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := w.send(time.Now()); err != nil {
			return err
		}
		if !moment.Before(from) {
			w.latencies = append(w.latencies, time.Since(moment))
		}
	}
	return nil
}
