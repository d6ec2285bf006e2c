package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// ErrStop is the cause of a context that ended because the process stops, as
// opposed to one that ended because a part failed.
var ErrStop = errors.New("the process is stopping")

// Stage is one part of a process. Run blocks until ctx has ended and the part
// has drained.
type Stage struct {
	Name string
	Run  func(ctx context.Context) error
}

type running struct {
	stage Stage
	stop  context.CancelCauseFunc
	done  chan struct{}
	err   error
}

// Run starts all stages at once. When ctx ends, or one stage returns, it stops
// them one after another in the order given, each drained before the next is
// told. drainTimeout bounds the whole stop. It returns the failures joined;
// nil when every stage ended because it was told to.
func Run(ctx context.Context, log *slog.Logger, drainTimeout time.Duration, stages ...Stage) error {
	ended := make(chan *running, len(stages))
	all := make([]*running, 0, len(stages))
	for _, s := range stages {
		// Not a child of ctx: each stage is told to stop in its turn.
		stageCtx, stop := context.WithCancelCause(context.WithoutCancel(ctx))
		r := &running{stage: s, stop: stop, done: make(chan struct{})}
		all = append(all, r)
		go func() {
			r.err = s.Run(stageCtx)
			close(r.done)
			ended <- r
		}()
	}
	var errs []error
	select {
	case <-ctx.Done():
	case r := <-ended:
		if r.err == nil {
			r.err = errors.New("ended before it was told to")
		}
		log.Error("a part ended, stopping", slog.String("part", r.stage.Name), slog.Any("error", r.err))
	}
	deadline := time.NewTimer(drainTimeout)
	defer deadline.Stop()
	for _, r := range all {
		r.stop(ErrStop)
		select {
		case <-r.done:
			if r.err != nil && !errors.Is(r.err, context.Canceled) && !errors.Is(r.err, ErrStop) {
				errs = append(errs, fmt.Errorf("%s: %w", r.stage.Name, r.err))
			}
		case <-deadline.C:
			deadline.Reset(0) // the rest is told to stop, and not waited for
			errs = append(errs, fmt.Errorf("%s: not drained within %s", r.stage.Name, drainTimeout))
		}
	}
	return errors.Join(errs...)
}
