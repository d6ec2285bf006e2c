package tenant_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metiva-io/metiva/pkg/embedded/postgres/postgrestest"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/tenant"
	schema "github.com/metiva-io/metiva/schemas/postgres"
)

// TestLock: one holds it, however long nothing is asked on its connection, and whatever
// becomes of the context it was taken in. It ends with its transaction, so that a pooler
// between cannot keep it on a connection of the server's that others get.
func TestLock(t *testing.T) {
	t.Parallel()
	db := postgrestest.Start(t)
	const idle = 100 * time.Millisecond
	worker, err := tenant.OpenWorker(t.Context(), postgres.Config{URL: db.URL(schema.RoleWorker), IdleInTransactionMax: idle, ConnectionsMax: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(worker.Close)
	ask := func(sql string) (n int) {
		t.Helper()
		err := worker.Tx(t.Context(), func(ctx context.Context, tx pgx.Tx) error { return tx.QueryRow(ctx, sql).Scan(&n) })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	taken, cancel := context.WithCancel(t.Context())
	release, err := worker.Lock(taken, 7)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	ask(`SELECT length(pg_sleep(0.5)::text)`) // longer than a transaction may be idle
	if _, err := worker.TryLock(t.Context(), 7); !errors.Is(err, tenant.ErrLocked) {
		t.Errorf("two have it: %v", err)
	}
	const holders = `SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`
	if held, open := ask(holders), ask(holders+` AND a.state = 'idle in transaction' AND a.backend_xmin IS NULL`); held != 1 || open != 1 {
		t.Errorf("%d hold it, %d of them in a transaction without a snapshot", held, open)
	}
	other, err := worker.TryLock(t.Context(), 8)
	if err != nil {
		t.Errorf("another lock: %v", err)
	} else {
		other()
	}
	waiting, stop := context.WithTimeout(t.Context(), idle)
	defer stop()
	if _, err := worker.Lock(waiting, 7); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waited for nothing: %v", err)
	}
	release()
	if held := ask(holders); held != 0 {
		t.Errorf("%d hold it after its end", held)
	}
	if release, err = worker.TryLock(t.Context(), 7); err != nil {
		t.Fatalf("it was not given back: %v", err)
	}
	release()
}
