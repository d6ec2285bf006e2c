package lifecycle_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metiva-io/metiva/pkg/lifecycle"
)

// recorder notes when each stage is told to stop and when it has drained.
type recorder struct {
	mu    sync.Mutex
	notes []string
}

func (r *recorder) note(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, s)
}

func (r *recorder) stage(name string, drain time.Duration) lifecycle.Stage {
	return lifecycle.Stage{Name: name, Run: func(ctx context.Context) error {
		<-ctx.Done()
		r.note("stop " + name)
		<-time.After(drain)
		r.note("drained " + name)
		return context.Cause(ctx)
	}}
}

func TestStopsInFlowOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var rec recorder
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		err := lifecycle.Run(ctx, slog.New(slog.DiscardHandler), time.Minute,
			rec.stage("listener", 3*time.Second), rec.stage("queue", time.Second), rec.stage("producer", 0))
		if err != nil {
			t.Fatalf("clean stop returned %v", err)
		}
		want := "stop listener,drained listener,stop queue,drained queue,stop producer,drained producer"
		if got := strings.Join(rec.notes, ","); got != want {
			t.Errorf("order:\n got %s\nwant %s", got, want)
		}
	})
}

func TestAFailureStopsTheRestAndIsReturned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var rec recorder
		broken := errors.New("port in use")
		err := lifecycle.Run(t.Context(), slog.New(slog.DiscardHandler), time.Minute,
			rec.stage("listener", 0),
			lifecycle.Stage{Name: "queue", Run: func(context.Context) error { return broken }})
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), "queue") {
			t.Errorf("got %v", err)
		}
		if got := strings.Join(rec.notes, ","); got != "stop listener,drained listener" {
			t.Errorf("got %s", got)
		}
	})
}

func TestAnEarlyCleanEndIsAFailure(t *testing.T) {
	t.Parallel()
	err := lifecycle.Run(t.Context(), slog.New(slog.DiscardHandler), time.Minute,
		lifecycle.Stage{Name: "listener", Run: func(context.Context) error { return nil }})
	if err == nil || !strings.Contains(err.Error(), "listener") {
		t.Errorf("got %v", err)
	}
}

func TestAStageThatDoesNotDrainIsNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var rec recorder
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		release := make(chan struct{})
		defer close(release)
		err := lifecycle.Run(ctx, slog.New(slog.DiscardHandler), 5*time.Second,
			lifecycle.Stage{Name: "stuck", Run: func(context.Context) error { <-release; return nil }},
			rec.stage("producer", 0))
		if err == nil || !strings.Contains(err.Error(), "stuck: not drained within 5s") {
			t.Errorf("got %v", err)
		}
	})
}
