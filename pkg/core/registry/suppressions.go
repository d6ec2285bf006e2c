package registry

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Suppression is a network that is never resolved to a company.
type Suppression struct {
	// Prefix has no host bits.
	Prefix netip.Prefix
	// Reason is the operator's own words, AddedBy who it was.
	Reason  string
	AddedBy string
	AddedAt time.Time
}

const (
	// The order of changes of one list is that of the outbox.
	queryLockSuppressions = `SELECT pg_advisory_xact_lock(hashtextextended('suppressions ' || $1, 0))`
	querySuppressions     = `
SELECT prefix, reason, added_by, added_at FROM core.suppressions WHERE company_id = $1 ORDER BY prefix`
	queryInsertSuppression = `
INSERT INTO core.suppressions (company_id, prefix, reason, added_by) VALUES ($1, $2, $3, $4) ON CONFLICT (company_id, prefix) DO NOTHING`
	queryDeleteSuppression       = `DELETE FROM core.suppressions WHERE company_id = $1 AND prefix = $2`
	queryInsertSuppressionRecord = `INSERT INTO core.outbox (company_id, topic, record_key, value) VALUES ($1, $2, $3, $4)`
)

// suppressionTx is a transaction within a tenant, or the worker's.
type suppressionTx interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Suppressions lists the networks of the claim's tenant, in their order.
func (s *Store) Suppressions(ctx context.Context, claim tenant.Claim) (all []Suppression, err error) {
	err = tenant.Run(ctx, s.pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		all, err = listSuppressions(ctx, tx, claim.CompanyID())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing suppressed networks: %w", publicError(err))
	}
	return all, nil
}

// OptOuts lists the networks of organisations that nobody is shown.
func (s *Store) OptOuts(ctx context.Context) (all []Suppression, err error) {
	err = s.worker.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		all, err = listSuppressions(ctx, tx, schemas.Everyone)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing opt-outs: %w", publicError(err))
	}
	return all, nil
}

// Suppress adds networks to the tenant's own: its visitors from there are not resolved
// any more, from the next event on. A network that is there already stays as it is. It
// reports how many are new.
func (s *Store) Suppress(ctx context.Context, claim tenant.Claim, reason string, prefixes []netip.Prefix) (int, error) {
	return s.changeSuppressions(ctx, claim, suppressionChange{add: prefixes, reason: reason, actor: claim.Actor()})
}

// Unsuppress takes networks away from the tenant's own: ErrNotFound, and no change, when
// one is not there.
func (s *Store) Unsuppress(ctx context.Context, claim tenant.Claim, prefixes []netip.Prefix) error {
	_, err := s.changeSuppressions(ctx, claim, suppressionChange{remove: prefixes})
	return err
}

func (s *Store) changeSuppressions(ctx context.Context, claim tenant.Claim, c suppressionChange) (added int, err error) {
	c.companyID, c.max = claim.CompanyID(), schemas.SuppressionsMax
	if c, err = c.normalise(); err != nil {
		return 0, err
	}
	err = s.change(ctx, claim, func(ctx context.Context, tx tenant.Tx, _ bool) error {
		added, err = c.apply(ctx, tx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("changing suppressed networks: %w", publicError(err))
	}
	return added, nil
}

// OptOut adds networks of an organisation that asked not to be named, for every tenant.
// Actor is who does it, "operator:name".
func (s *Store) OptOut(ctx context.Context, actor, reason string, prefixes []netip.Prefix) (int, error) {
	return s.changeOptOuts(ctx, suppressionChange{add: prefixes, reason: reason, actor: actor})
}

// EndOptOut takes networks away again: ErrNotFound, and no change, when one is not there.
func (s *Store) EndOptOut(ctx context.Context, prefixes []netip.Prefix) error {
	_, err := s.changeOptOuts(ctx, suppressionChange{remove: prefixes})
	return err
}

func (s *Store) changeOptOuts(ctx context.Context, c suppressionChange) (added int, err error) {
	c.companyID, c.max = schemas.Everyone, schemas.SuppressionsEveryoneMax
	if c, err = c.normalise(); err != nil {
		return 0, err
	}
	err = s.worker.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		added, err = c.apply(ctx, tx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("changing opt-outs: %w", publicError(err))
	}
	return added, nil
}

// suppressionChange is a change of one list.
type suppressionChange struct {
	companyID   string
	max         int
	add, remove []netip.Prefix
	reason      string
	actor       string
}

func (c suppressionChange) normalise() (suppressionChange, error) {
	if len(c.add)+len(c.remove) == 0 {
		return c, fmt.Errorf("%w: there is nothing to change", ErrInvalid)
	}
	for i, p := range append(c.add[:len(c.add):len(c.add)], c.remove...) {
		if err := schemas.CheckSuppression(p); err != nil {
			return c, fmt.Errorf("%w: network %d: %w", ErrInvalid, i+1, err)
		}
	}
	if len(c.add) == 0 {
		return c, nil
	}
	var err error
	if c.reason, err = cleanName("reason", c.reason); err != nil {
		return c, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return c, nil
}

// apply changes the rows and queues the list's record, if it is another.
func (c suppressionChange) apply(ctx context.Context, tx suppressionTx) (added int, err error) {
	if _, err := tx.Exec(ctx, queryLockSuppressions, c.companyID); err != nil {
		return 0, err
	}
	for _, p := range c.add {
		tag, err := tx.Exec(ctx, queryInsertSuppression, c.companyID, p, c.reason, c.actor)
		if err != nil {
			return 0, err
		}
		added += int(tag.RowsAffected())
	}
	for _, p := range c.remove {
		tag, err := tx.Exec(ctx, queryDeleteSuppression, c.companyID, p)
		if err != nil {
			return 0, err
		}
		if tag.RowsAffected() == 0 {
			return 0, fmt.Errorf("the network to remove: %w", ErrNotFound)
		}
	}
	if added == 0 && len(c.remove) == 0 {
		return 0, nil
	}
	all, err := listSuppressions(ctx, tx, c.companyID)
	if err != nil {
		return 0, err
	}
	if len(all) > c.max {
		return 0, fmt.Errorf("%d networks would be suppressed, at most %d are: %w", len(all), c.max, ErrLimit)
	}
	value, err := suppressionRecord(c.companyID, all)
	if err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, queryInsertSuppressionRecord, c.companyID, schemas.TopicControlSuppressions, []byte(c.companyID), value)
	return added, err
}

// suppressionRecord is the list as it is published; an empty one is removed from the topic.
func suppressionRecord(companyID string, all []Suppression) ([]byte, error) {
	if len(all) == 0 {
		return []byte{}, nil
	}
	m := &metivav1.SuppressionRecord{CompanyId: companyID}
	for _, s := range all {
		m.Prefixes = append(m.Prefixes, schemas.AppendPrefix(nil, s.Prefix))
	}
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding a record of suppressed networks: %w", err)
	}
	return value, nil
}

func listSuppressions(ctx context.Context, tx suppressionTx, companyID string) ([]Suppression, error) {
	rows, err := tx.Query(ctx, querySuppressions, companyID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Suppression])
}
