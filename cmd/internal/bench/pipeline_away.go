package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
)

// awayFigures are what the sink did while ClickHouse was away, and afterwards. Memory is
// of its process, in bytes: before, at most while ClickHouse was away, at most until all
// was caught up with; heap is what Go says of it.
type awayFigures struct {
	length, caughtUp              time.Duration // caughtUp since ClickHouse answers again
	sent, accepted, lost, doubled int
	backlog                       int // events that waited when ClickHouse came back
	before, during, after         sinkMemory
}

type sinkMemory struct{ rss, heap float64 }

func (m sinkMemory) greater(o sinkMemory) sinkMemory {
	return sinkMemory{max(m.rss, o.rss), max(m.heap, o.heap)}
}

const (
	memoryEvery = 500 * time.Millisecond
	metricHeap  = "go_memstats_heap_inuse_bytes"
	// catchUpMax is how long the sink may take for what waited.
	catchUpMax = 10 * time.Minute
)

func (r *pipelineRig) sinkMemory(ctx context.Context) (m sinkMemory, err error) {
	if m.heap, err = r.servers.metric(ctx, serverSink, metricHeap); err != nil {
		return m, err
	}
	m.rss, err = rssOf(r.servers.pid(serverSink))
	return m, err
}

// watchMemory notes the most until stop is closed.
func (r *pipelineRig) watchMemory(ctx context.Context, stop <-chan struct{}) (most sinkMemory, err error) {
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	for {
		m, err := r.sinkMemory(ctx)
		if err != nil {
			return most, err
		}
		most = most.greater(m)
		select {
		case <-tick.C:
		case <-stop:
			return most, nil
		case <-ctx.Done():
			return most, ctx.Err()
		}
	}
}

// away stops ClickHouse, sends on, and starts it again.
func (r *pipelineRig) away(ctx context.Context, conn *clickhouse.Conn) (a awayFigures, err error) {
	a.length = time.Duration(r.cfg.AwaySeconds * float64(time.Second))
	if a.before, err = r.sinkMemory(ctx); err != nil {
		return a, err
	}
	r.say("stopping clickhouse, and sending on for %s", a.length)
	if err := r.servers.end(serverClickHouse); err != nil {
		return a, err
	}
	var shots []shot
	if a.during, err = r.watchWhile(ctx, func() error { shots = r.send(ctx, time.Now(), a.length); return nil }); err != nil {
		return a, err
	}
	a.sent = len(shots)
	accepted := make(map[[16]byte]bool, len(shots))
	for i := range shots {
		if shots[i].accepted {
			accepted[shots[i].id] = true
		}
	}
	a.accepted = len(accepted)
	r.say("starting clickhouse again")
	if err := r.startClickHouse(ctx); err != nil {
		return a, err
	}
	back := time.Now()
	a.after, err = r.watchWhile(ctx, func() error {
		var rows map[[16]byte]int
		for first := true; ; first = false {
			var err error
			if rows, err = rowsByID(ctx, conn); err != nil {
				return err
			}
			missing := 0
			for id := range accepted {
				if rows[id] == 0 {
					missing++
				}
			}
			if first {
				a.backlog = missing
			}
			a.caughtUp = time.Since(back)
			if missing == 0 || a.caughtUp > catchUpMax {
				break
			}
			select {
			case <-time.After(memoryEvery):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		for id := range accepted {
			switch n := rows[id]; {
			case n == 0:
				a.lost++
			case n > 1:
				a.doubled++
			}
		}
		return nil
	})
	return a, err
}

// watchWhile notes the sink's memory while do works.
func (r *pipelineRig) watchWhile(ctx context.Context, do func() error) (sinkMemory, error) {
	type watched struct {
		most sinkMemory
		err  error
	}
	stop, ended := make(chan struct{}), make(chan watched, 1)
	go func() {
		most, err := r.watchMemory(ctx, stop)
		ended <- watched{most, err}
	}()
	err := do()
	close(stop)
	w := <-ended
	return w.most, errors.Join(err, w.err)
}

func (a awayFigures) write(w io.Writer) {
	if a.length == 0 {
		return
	}
	const mib = 1 << 20
	_, _ = fmt.Fprintf(w, "clickhouse away for %s: %d events sent, %d accepted, %d lost, %d doubled; %d waited when it was back and were caught up with in %.1f s, %.0f a second\n",
		a.length, a.sent, a.accepted, a.lost, a.doubled, a.backlog, a.caughtUp.Seconds(), float64(a.backlog)/a.caughtUp.Seconds())
	_, _ = fmt.Fprintf(w, "memory of the sink in MiB, resident and heap in use: before %.0f and %.0f, away at most %.0f and %.0f, catching up at most %.0f and %.0f\n",
		a.before.rss/mib, a.before.heap/mib, a.during.rss/mib, a.during.heap/mib, a.after.rss/mib, a.after.heap/mib)
}
