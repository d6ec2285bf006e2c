package tenant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Tx is a transaction inside one tenant's context. It is valid until the
// function it was given to returns, and for one goroutine.
type Tx interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
	// Role is the member's role; empty for operators and schedules.
	Role() string
}

var (
	// ErrUnknownTenant is returned when the claim's tenant does not exist.
	ErrUnknownTenant = errors.New("unknown tenant")
	// ErrTenantExists is returned by Found for a tenant that is there already.
	ErrTenantExists = errors.New("the tenant exists already")
	// ErrSuspended is returned to members of a suspended tenant and to
	// suspended members.
	ErrSuspended = errors.New("access is suspended")
	// ErrNoMembership is returned when the user is no member of the tenant, or
	// the membership changed since the token was issued.
	ErrNoMembership = errors.New("no current membership of the tenant")
	// ErrContextLeak is returned when a connection came from the pool with a
	// tenant's context still set. The connection is closed.
	ErrContextLeak = errors.New("a tenant context outlived its transaction")
)

const (
	statusActive = "active"
	// endTimeout limits the COMMIT or ROLLBACK after the caller's context ended.
	endTimeout = 5 * time.Second
)

// Run calls fn in one transaction of the claim's tenant, and commits when fn
// returns nil. Entering is one round trip: begin, context, tenant status,
// membership.
func Run(ctx context.Context, pool *Pool, claim Claim, fn func(ctx context.Context, tx Tx) error) error {
	return run(ctx, pool, claim, false, fn)
}

// Found is Run for the one transaction that creates the claim's tenant: the
// tenant must not exist before, and must exist after.
func Found(ctx context.Context, pool *Pool, claim Claim, fn func(ctx context.Context, tx Tx) error) error {
	if claim.userID != "" {
		return fmt.Errorf("%w: a member cannot create a tenant", ErrInvalidClaim)
	}
	return run(ctx, pool, claim, true, func(ctx context.Context, tx Tx) error {
		if err := fn(ctx, tx); err != nil {
			return err
		}
		var status string
		if err := tx.QueryRow(ctx, queryTenantStatus).Scan(&status); err != nil {
			return fmt.Errorf("looking for the new tenant: %w", err)
		}
		return nil
	})
}

func run(ctx context.Context, pool *Pool, claim Claim, founding bool, fn func(ctx context.Context, tx Tx) error) (err error) {
	if claim.IsZero() {
		return ErrNoClaim
	}
	conn, err := pool.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("getting a database connection: %w", err)
	}
	// A panic in fn, or an error at any point, ends the transaction before the
	// connection goes back to the pool.
	committed := false
	defer func() {
		if !committed {
			rollback(ctx, conn)
		}
		conn.Release()
	}()
	tx := &boundTx{conn: conn.Conn()}
	if err := enter(ctx, tx, claim, founding); err != nil {
		if errors.Is(err, ErrContextLeak) {
			_ = conn.Conn().Close(context.WithoutCancel(ctx))
		}
		return err
	}
	err = fn(ctx, tx)
	tx.done = true
	if err != nil {
		return err
	}
	tag, err := conn.Exec(ctx, "commit")
	if err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	// COMMIT of a transaction that already failed says ROLLBACK.
	if tag.String() != "COMMIT" {
		return errors.New("committing: the transaction had failed and was rolled back")
	}
	committed = true
	return nil
}

// rollback ends the transaction, whatever became of the caller's context. A
// connection that cannot be brought back to idle is closed.
func rollback(ctx context.Context, conn *pgxpool.Conn) {
	raw := conn.Conn()
	if raw.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if _, err := raw.Exec(ctx, "rollback"); err != nil || raw.PgConn().TxStatus() != txIdle {
		_ = raw.Close(ctx)
	}
}

const txIdle = 'I'

// enter begins the transaction and sets its context, in one round trip.
func enter(ctx context.Context, tx *boundTx, claim Claim, founding bool) error {
	var (
		before, status string
		member         membership
		found          bool
	)
	b := &pgx.Batch{}
	b.Queue("begin")
	b.Queue(queryEnter, claim.companyID, claim.actor).QueryRow(func(row pgx.Row) error {
		var ignored string
		return row.Scan(&before, &ignored, &ignored, &ignored)
	})
	if claim.userID == "" {
		b.Queue(queryAllBrands)
	} else {
		b.Queue(queryMembership, claim.userID).QueryRow(func(row pgx.Row) error {
			var ignored string
			return orNoRows(row.Scan(&member.role, &member.status, &member.version, &ignored))
		})
	}
	b.Queue(queryTenantStatus).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&status)
		found = err == nil
		return orNoRows(err)
	})
	if err := tx.conn.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("entering the tenant's context: %w", err)
	}
	switch {
	case before != "":
		return ErrContextLeak
	case founding && found:
		return ErrTenantExists
	case !founding && !found:
		return ErrUnknownTenant
	}
	if claim.userID == "" {
		return nil
	}
	tx.role = member.role
	return member.check(claim, status)
}

// membership is what one row of core.memberships says.
type membership struct {
	role, status string
	version      int64
}

func (m membership) check(claim Claim, tenantStatus string) error {
	switch {
	case m.role == "" || m.version != claim.membershipVersion:
		return ErrNoMembership
	case m.status != statusActive || tenantStatus != statusActive:
		return ErrSuspended
	}
	return nil
}

func orNoRows(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

// boundTx is the Tx of one Run.
type boundTx struct {
	conn *pgx.Conn
	role string
	done bool
}

// errTxOver is returned by a Tx that was kept after its Run ended.
var errTxOver = errors.New("the tenant's transaction is over")

func (t *boundTx) Role() string { return t.role }

func (t *boundTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if t.done {
		return pgconn.CommandTag{}, errTxOver
	}
	return t.conn.Exec(ctx, sql, args...)
}

func (t *boundTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if t.done {
		return errRows{}, errTxOver
	}
	return t.conn.Query(ctx, sql, args...)
}

func (t *boundTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if t.done {
		return errRows{}
	}
	return t.conn.QueryRow(ctx, sql, args...)
}

func (t *boundTx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if t.done {
		return errBatch{}
	}
	return t.conn.SendBatch(ctx, b)
}
