package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	dayForm = "2006-01-02"
	// Salts exist for today and saltDaysAhead days after it, so that collectors
	// have tomorrow's long before midnight.
	saltDaysAhead = 2
	// saltLife is how long after the end of its day a salt is destroyed.
	saltLife  = 48 * time.Hour
	saltsRows = 200
)

// tenantDay names one visit salt.
type tenantDay struct{ CompanyID, Day string }

func (p *Publisher) salts(ctx context.Context) error { return p.saltsAs(ctx, queryTryLock) }

// saltsAs publishes missing salts and destroys those whose time is over.
func (p *Publisher) saltsAs(ctx context.Context, lock string) error {
	return errors.Join(
		p.saltBatches(ctx, lock, p.publishSalts),
		p.saltBatches(ctx, lock, p.destroySalts))
}

// saltBatches calls one in its own transaction until it did less than a full
// batch.
func (p *Publisher) saltBatches(ctx context.Context, lock string, one func(context.Context, pgx.Tx) (int, error)) error {
	for ctx.Err() == nil {
		n, err := p.saltBatch(ctx, lock, one)
		if err != nil {
			return err
		}
		if n < saltsRows {
			return nil
		}
	}
	return ctx.Err()
}

func (p *Publisher) saltBatch(ctx context.Context, lock string, one func(context.Context, pgx.Tx) (int, error)) (n int, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), batchTimeout)
	defer cancel()
	var workErr error
	err = p.cfg.Worker.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		got, err := p.lock(ctx, tx, lock, lockSalts)
		if err != nil || !got {
			return err
		}
		// What was published before a failure is committed all the same.
		n, workErr = one(ctx, tx)
		if errors.Is(workErr, errPublish) {
			return nil
		}
		return workErr
	})
	return n, errors.Join(err, workErr)
}

// errPublish marks a failure of Kafka, after which the transaction is good.
var errPublish = errors.New("publishing a visit salt")

func (p *Publisher) publishSalts(ctx context.Context, tx pgx.Tx) (int, error) {
	today := p.cfg.Now().UTC().Truncate(24 * time.Hour)
	days := make([]time.Time, 0, saltDaysAhead+1)
	for i := range saltDaysAhead + 1 {
		days = append(days, today.AddDate(0, 0, i))
	}
	recipient := p.cfg.Edge.ID()
	missing, err := selectTenantDays(ctx, tx, querySaltsMissing, days, recipient[:], saltsRows)
	if err != nil {
		return 0, fmt.Errorf("looking for missing visit salts: %w", err)
	}
	for _, m := range missing {
		if err := p.publishSalt(ctx, m); err != nil {
			return 0, err
		}
		if _, err := tx.Exec(ctx, queryInsertSalt, m.CompanyID, m.Day, recipient[:]); err != nil {
			return 0, fmt.Errorf("noting a published visit salt: %w", err)
		}
	}
	return len(missing), nil
}

// publishSalt makes a salt, wraps and publishes it, and forgets it.
func (p *Publisher) publishSalt(ctx context.Context, m tenantDay) error {
	var salt [32]byte
	defer clear(salt[:])
	_, _ = rand.Read(salt[:]) // never fails (crypto/rand)
	wrapped, err := seal.WrapSalt(p.cfg.Edge, m.CompanyID, m.Day, salt)
	if err != nil {
		return fmt.Errorf("wrapping a visit salt: %w", err)
	}
	value, err := proto.Marshal(&metivav1.KeyRecord{Kind: &metivav1.KeyRecord_VisitSalt{VisitSalt: wrapped}})
	if err != nil {
		return fmt.Errorf("encoding a visit salt: %w", err)
	}
	if err := p.send(ctx, schemas.TopicControlKeys, seal.SaltRecordKey(m.CompanyID, m.Day), value); err != nil {
		return fmt.Errorf("%w: %w", errPublish, err)
	}
	return nil
}

func (p *Publisher) destroySalts(ctx context.Context, tx pgx.Tx) (int, error) {
	// A day's salt is over when its end plus saltLife has passed.
	last := p.cfg.Now().UTC().Add(-saltLife).Truncate(24*time.Hour).AddDate(0, 0, -1)
	over, err := selectTenantDays(ctx, tx, querySaltsOver, last.Format(dayForm), saltsRows)
	if err != nil {
		return 0, fmt.Errorf("looking for visit salts to destroy: %w", err)
	}
	for _, o := range over {
		if err := p.send(ctx, schemas.TopicControlKeys, seal.SaltRecordKey(o.CompanyID, o.Day), nil); err != nil {
			return 0, fmt.Errorf("%w: %w", errPublish, err)
		}
		if _, err := tx.Exec(ctx, queryTombstoneSalt, o.CompanyID, o.Day); err != nil {
			return 0, fmt.Errorf("noting a destroyed visit salt: %w", err)
		}
	}
	return len(over), nil
}

func selectTenantDays(ctx context.Context, tx pgx.Tx, query string, args ...any) ([]tenantDay, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[tenantDay])
}

// Republish makes good what Kafka has lost: it queues again the newest record
// of each key that present denies, and lets the visit salts of today and later
// that present denies be made anew. It returns how many records that were; Run
// or Flush publishes them. Present is asked for a topic and a record key, and
// nil means that Kafka is known to be empty. Calling it again changes nothing
// once the records are there.
func (p *Publisher) Republish(ctx context.Context, present func(topic string, key []byte) bool) (int, error) {
	if present == nil {
		present = func(string, []byte) bool { return false }
	}
	again := 0
	err := p.cfg.Worker.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		for _, id := range []int64{lockOutbox, lockSalts} {
			if _, err := p.lock(ctx, tx, queryLock, id); err != nil {
				return err
			}
		}
		records, err := p.requeue(ctx, tx, present)
		if err != nil {
			return err
		}
		salts, err := p.forgetSalts(ctx, tx, present)
		again = records + salts
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("republishing control records: %w", err)
	}
	if again > 0 {
		p.saltsDue.Store(true)
		p.Wake()
	}
	return again, nil
}

func (p *Publisher) requeue(ctx context.Context, tx pgx.Tx, present func(string, []byte) bool) (int, error) {
	rows, err := tx.Query(ctx, queryLatestDone)
	if err != nil {
		return 0, err
	}
	var (
		missing []int64
		id      int64
		topic   string
		key     []byte
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &topic, &key}, func() error {
		if !present(topic, key) {
			missing = append(missing, id)
		}
		return nil
	})
	if err != nil || len(missing) == 0 {
		return 0, err
	}
	_, err = tx.Exec(ctx, queryMarkPending, missing)
	return len(missing), err
}

func (p *Publisher) forgetSalts(ctx context.Context, tx pgx.Tx, present func(string, []byte) bool) (int, error) {
	alive, err := selectTenantDays(ctx, tx, querySaltsAlive, p.cfg.Now().UTC().Format(dayForm))
	if err != nil {
		return 0, err
	}
	missing := 0
	for _, s := range alive {
		if present(schemas.TopicControlKeys, seal.SaltRecordKey(s.CompanyID, s.Day)) {
			continue
		}
		if _, err := tx.Exec(ctx, queryForgetSalt, s.CompanyID, s.Day); err != nil {
			return 0, err
		}
		missing++
	}
	return missing, nil
}
