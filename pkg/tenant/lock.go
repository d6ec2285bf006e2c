package tenant

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrLocked is returned by TryLock for a lock that another process or call holds.
var ErrLocked = errors.New("another process is at work on it")

// lockEvery is the pause between two tries of Lock: a statement that waits would keep
// Postgres from cleaning up.
const lockEvery = 200 * time.Millisecond

// Lock waits for a lock of Postgres that bears the number, and returns what gives it
// back. It holds one connection of its own, whose end gives the lock back too: a killed
// process holds none. Behind a pooler that shares connections it locks nothing.
func (w *Worker) Lock(ctx context.Context, number int64) (release func(), err error) {
	for {
		release, err = w.TryLock(ctx, number)
		if !errors.Is(err, ErrLocked) {
			return release, err
		}
		timer := time.NewTimer(lockEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("waiting for a lock: %w", context.Cause(ctx))
		}
	}
}

// TryLock is Lock that does not wait: ErrLocked when somebody has it.
func (w *Worker) TryLock(ctx context.Context, number int64) (release func(), err error) {
	acquired, err := w.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("getting a connection for a lock: %w", err)
	}
	var locked bool
	err = acquired.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, number).Scan(&locked)
	if err == nil && !locked {
		acquired.Release()
		return nil, ErrLocked
	}
	// Out of the pool: others would inherit the lock.
	conn := acquired.Hijack()
	release = func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		// The server notices the end of a connection a moment later.
		_, _ = conn.Exec(end, `SELECT pg_advisory_unlock_all()`)
		_ = conn.Close(end)
	}
	if err != nil {
		release()
		return nil, fmt.Errorf("taking a lock: %w", err)
	}
	return release, nil
}
