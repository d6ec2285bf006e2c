package tenant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/metiva-io/metiva/pkg/postgres"
)

// Worker holds the connections of app_worker: outbox, directory and schedules
// across tenants, and no tenant table.
type Worker struct {
	pool *pgxpool.Pool
}

// OpenWorker connects, and refuses a role that can read or write a tenant
// table beyond the policies made for it.
func OpenWorker(ctx context.Context, cfg postgres.Config) (*Worker, error) {
	pool, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	check := func() error {
		if err := checkRole(ctx, pool); err != nil {
			return err
		}
		var tables string
		if err := pool.QueryRow(ctx, queryReadableTenantTables).Scan(&tables); err != nil {
			return fmt.Errorf("reading the grants of the worker role: %w", err)
		}
		if tables != "" {
			return fmt.Errorf("%w: the worker role has rights on %s", ErrUnsafeDatabase, tables)
		}
		return nil
	}
	if err := check(); err != nil {
		pool.Close()
		return nil, err
	}
	return &Worker{pool: pool}, nil
}

// Close waits for running transactions and closes the connections.
func (w *Worker) Close() { w.pool.Close() }

// Ping makes one round trip, for readiness.
func (w *Worker) Ping(ctx context.Context) error {
	if err := w.pool.Ping(ctx); err != nil {
		return fmt.Errorf("reaching Postgres as the worker: %w", err)
	}
	return nil
}

// Tx calls fn in one transaction without a tenant's context.
func (w *Worker) Tx(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx) error) error {
	if err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error { return fn(ctx, tx) }); err != nil {
		return fmt.Errorf("working on the outbox and schedules: %w", err)
	}
	return nil
}

// Listen calls notified once at the start, with an empty payload, and then
// with the payload of each notification on the channel, until ctx ends or
// the connection breaks. It holds one connection of its own.
func (w *Worker) Listen(ctx context.Context, channel string, notified func(payload string)) error {
	acquired, err := w.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("getting a connection to listen on: %w", err)
	}
	// Out of the pool: a connection that listens must not be given to others.
	conn := acquired.Hijack()
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		_ = conn.Close(end)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	notified("") // whatever came before the LISTEN
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("waiting for a notification: %w", err)
		}
		notified(n.Payload)
	}
}

// KeepListening is Listen that starts again after a broken connection, until
// ctx ends.
func (w *Worker) KeepListening(ctx context.Context, channel string, again time.Duration, notified func(payload string), failed func(error)) {
	for ctx.Err() == nil {
		if err := w.Listen(ctx, channel, notified); err != nil && !errors.Is(err, context.Canceled) {
			failed(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}
