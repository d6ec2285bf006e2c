package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
)

const (
	pipelineDatabase = "metiva"
	// pipelineTenants share the load evenly, so that the sink has batches of every
	// partition.
	pipelineTenants     = 16
	pipelineConnections = 4 // of each tenant's load
	// queryEvery is how often ClickHouse is asked what is new; half of it is in
	// every figure of freshness.
	queryEvery = 50 * time.Millisecond
	// watchBack is how long after its time of insertion a row may come to be seen.
	watchBack = 5 * time.Second
	// settleMax is how long the last events may take.
	settleMax = time.Minute
)

// benchSite is a tenant's site.
type benchSite struct{ company, site, key string }

func pipelineSites() []benchSite {
	sites := make([]benchSite, pipelineTenants)
	for i := range sites {
		sites[i] = benchSite{tenantID(i), siteOf(i), fmt.Sprintf("pk_bench%019d", i)}
	}
	return sites
}

// freshness is what became of the events of the open load.
type freshness struct {
	sent, accepted, measured int
	lost, doubled, invented  int
	p50, p95, max            time.Duration
	away                     awayFigures
}

// fresh sends the open load and watches it arrive.
func (r *pipelineRig) fresh(ctx context.Context) (f freshness, err error) {
	conn, err := r.database(ctx, pipelineDatabase)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	r.say("starting the collector, enrich and the sink")
	if err := r.processes(ctx); err != nil {
		return f, err
	}
	if r.servers.tokens, err = r.servers.grantFor(pipelineSites()[0].site); err != nil {
		return f, err
	}
	r.say("sending %.0f events a second for %.0f s", r.cfg.Rate, r.cfg.Seconds)
	w := &watcher{conn: conn, seen: make(map[[16]byte]time.Time)}
	watching, stopWatching := context.WithCancel(ctx)
	watched := make(chan error, 1)
	go func() { watched <- w.run(watching) }()
	began := time.Now()
	shots := r.send(ctx, began, pipelineWarm+time.Duration(r.cfg.Seconds*float64(time.Second)))
	accepted := 0
	for i := range shots {
		if shots[i].accepted {
			accepted++
		}
	}
	err = w.until(ctx, accepted)
	stopWatching()
	if err := errors.Join(err, <-watched); err != nil {
		return f, err
	}
	rows, err := rowsByID(ctx, conn)
	if err != nil {
		return f, err
	}
	f = judgeFreshness(shots, began, w.seen, rows)
	if r.cfg.AwaySeconds > 0 {
		if f.away, err = r.away(ctx, conn); err != nil {
			return f, err
		}
	}
	for _, name := range []string{serverCollector, serverEnrich, serverSink} {
		if err := r.servers.end(name); err != nil {
			return f, err
		}
	}
	return f, nil
}

// send runs a load for each tenant for a time.
func (r *pipelineRig) send(ctx context.Context, began time.Time, length time.Duration) []shot {
	stop := make(chan struct{})
	timer := time.AfterFunc(length, func() { close(stop) })
	defer timer.Stop()
	var mu sync.Mutex
	var all []shot
	var sending sync.WaitGroup
	for i, site := range pipelineSites() {
		l := &steady{
			address: r.servers.address(serverCollector), connections: pipelineConnections, rate: r.cfg.Rate / pipelineTenants,
			began:    began.Add(time.Duration(float64(time.Second) / r.cfg.Rate * float64(i))),
			visitors: visitors{host: r.servers.address(serverCollector), siteKey: site.key, results: true},
		}
		if i == 0 {
			l.visitors.tokens = r.servers.tokens
		}
		shift := l.began.Sub(began)
		sending.Go(func() {
			shots := l.run(ctx, stop)
			for i := range shots {
				shots[i].at += shift
			}
			mu.Lock()
			all = append(all, shots...)
			mu.Unlock()
		})
	}
	sending.Wait()
	return all
}

// judgeFreshness compares what was sent with what stands in events, id by id.
func judgeFreshness(shots []shot, began time.Time, seen map[[16]byte]time.Time, rows map[[16]byte]int) freshness {
	f := freshness{sent: len(shots)}
	known := make(map[[16]byte]bool, len(shots))
	var took []time.Duration
	for i := range shots {
		s := &shots[i]
		known[s.id] = true
		if !s.accepted {
			continue
		}
		f.accepted++
		switch n := rows[s.id]; {
		case n == 0:
			f.lost++
		case n > 1:
			f.doubled++
		}
		if at, there := seen[s.id]; there && s.at >= pipelineWarm {
			took = append(took, at.Sub(began.Add(s.at)))
		}
	}
	for id := range rows {
		if !known[id] {
			f.invented++
		}
	}
	slices.Sort(took)
	all := sent{latencies: took}
	f.measured, f.p50, f.p95, f.max = len(took), all.quantile(0.5), all.quantile(0.95), all.quantile(1)
	return f
}

// watcher notes when each event could be queried first.
type watcher struct {
	conn *clickhouse.Conn

	mu   sync.Mutex
	seen map[[16]byte]time.Time
}

const watchSQL = `SELECT event_id, inserted_at FROM events WHERE inserted_at >= {from:DateTime64(3, 'UTC')}`

func (w *watcher) run(ctx context.Context) error {
	tick := time.NewTicker(queryEvery)
	defer tick.Stop()
	newest := time.Now().Add(-time.Minute)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		var ids [][16]byte
		err := w.conn.Each(ctx, watchSQL, func(scan func(...any) error) error {
			var id [16]byte
			var at time.Time
			if err := scan(&id, &at); err != nil {
				return err
			}
			if at.After(newest) {
				newest = at
			}
			ids = append(ids, id)
			return nil
		}, clickhouse.Param("from", newest.Add(-watchBack)))
		if ctx.Err() != nil {
			return nil // told to stop
		}
		if err != nil {
			return fmt.Errorf("watching the events: %w", err)
		}
		now := time.Now() // the answer is here: the events could be queried
		w.mu.Lock()
		for _, id := range ids {
			if _, known := w.seen[id]; !known {
				w.seen[id] = now
			}
		}
		w.mu.Unlock()
	}
}

// until waits until so many events were seen; fewer after settleMax are lost, which
// is not the watcher's to say.
func (w *watcher) until(ctx context.Context, n int) error {
	deadline := time.Now().Add(settleMax)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		w.mu.Lock()
		there := len(w.seen)
		w.mu.Unlock()
		if there >= n || time.Now().After(deadline) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// rowsByID counts the rows of each event, doubles that a merge would remove included.
func rowsByID(ctx context.Context, conn *clickhouse.Conn) (map[[16]byte]int, error) {
	rows := make(map[[16]byte]int)
	err := conn.Each(ctx, "SELECT event_id FROM events", func(scan func(...any) error) error {
		var id [16]byte
		if err := scan(&id); err != nil {
			return err
		}
		rows[id]++
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the events: %w", err)
	}
	return rows, nil
}
