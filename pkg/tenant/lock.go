package tenant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrLocked is returned by TryLock for a lock that another process or call holds.
var ErrLocked = errors.New("another process is at work on it")

// lockEvery is the pause between two tries of Lock: a statement that waits would keep
// Postgres from cleaning up.
const lockEvery = 200 * time.Millisecond

// Lock waits for a lock of Postgres that bears the number, and returns what gives it
// back. It holds one connection of its own, in a transaction that does nothing else:
// its end gives the lock back, also that of a killed process, and of a connection that
// goes back to a pooler.
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
	locked, err := lockIn(ctx, acquired.Conn(), number)
	if err != nil || !locked {
		rollback(ctx, acquired)
		acquired.Release()
		if err != nil {
			return nil, fmt.Errorf("taking a lock: %w", err)
		}
		return nil, ErrLocked
	}
	// Out of the pool: it is held for long.
	conn := acquired.Hijack()
	return func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		// The server notices the end of a connection a moment later.
		_, _ = conn.Exec(end, `ROLLBACK`)
		_ = conn.Close(end)
	}, nil
}

// lockIn begins the transaction that holds the lock. It may be idle for as long as the
// work takes, and does not keep Postgres from cleaning up: the simple protocol leaves no
// portal, and so no snapshot, open.
func lockIn(ctx context.Context, conn *pgx.Conn, number int64) (locked bool, err error) {
	for _, sql := range []string{`BEGIN ISOLATION LEVEL READ COMMITTED`, `SET LOCAL idle_in_transaction_session_timeout = 0`} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return false, err
		}
	}
	err = conn.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1)`, pgx.QueryExecModeSimpleProtocol, number).Scan(&locked)
	return locked, err
}
