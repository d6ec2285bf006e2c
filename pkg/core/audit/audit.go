package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metiva-io/metiva/pkg/tenant"
)

// Outcome is what became of an action.
type Outcome string

// The outcomes.
const (
	Begun  Outcome = "begun"
	Done   Outcome = "done"
	Failed Outcome = "failed"
	Denied Outcome = "denied"
)

// Entry is what is recorded.
type Entry struct {
	// Action is like "tenant.export".
	Action  string
	Outcome Outcome
	// Details is written as an object of JSON, 64 KiB at most.
	Details any
}

// Record is an entry as it stands.
type Record struct {
	CompanyID string          `json:"company_id"`
	Seq       int64           `json:"seq"` // from 1, without gaps
	At        time.Time       `json:"at"`
	Actor     string          `json:"actor"`
	Action    string          `json:"action"`
	Outcome   Outcome         `json:"outcome"`
	Details   json.RawMessage `json:"details"`
	// Hash is the SHA-256 of the record and of the hash before it.
	Hash []byte `json:"hash"`
}

// ErrChain is returned for records that do not follow from each other.
var ErrChain = errors.New("the audit records of the tenant do not follow from each other")

const (
	// Appending to one tenant's chain is one after the other.
	queryLock   = `SELECT pg_advisory_xact_lock(hashtextextended('audit of ' || current_setting('app.company_id'), 0))`
	queryLast   = `SELECT seq, hash FROM core.audit_records ORDER BY seq DESC LIMIT 1`
	queryAppend = `
INSERT INTO core.audit_records (seq, at, actor, action, outcome, details, previous, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`
	queryList = `
SELECT company_id, seq, at, actor, action, outcome, details, previous, hash FROM core.audit_records WHERE seq > $1 ORDER BY seq LIMIT $2`
)

// Log writes records.
type Log struct {
	pool *tenant.Pool
	now  func() time.Time
}

// New makes a log.
func New(pool *tenant.Pool, now func() time.Time) *Log { return &Log{pool: pool, now: now} }

// Append makes the entry durable.
func (l *Log) Append(ctx context.Context, claim tenant.Claim, e Entry) error {
	details, err := json.Marshal(e.Details)
	if err != nil {
		return fmt.Errorf("encoding an audit record: %w", err)
	}
	r := Record{
		CompanyID: claim.CompanyID(), Seq: 1, At: l.now().UTC().Truncate(time.Microsecond), Actor: claim.Actor(),
		Action: e.Action, Outcome: e.Outcome, Details: details,
	}
	err = tenant.Run(ctx, l.pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		if _, err := tx.Exec(ctx, queryLock); err != nil {
			return err
		}
		previous := make([]byte, sha256.Size)
		err := tx.QueryRow(ctx, queryLast).Scan(&r.Seq, &previous)
		switch {
		case err == nil:
			r.Seq++
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		r.Hash = r.sum(previous)
		_, err = tx.Exec(ctx, queryAppend, r.Seq, r.At, r.Actor, r.Action, r.Outcome, string(r.Details), previous, r.Hash)
		return err
	})
	if err != nil {
		return fmt.Errorf("writing an audit record: %w", quiet(err))
	}
	return nil
}

// sum is the hash of the record behind another; every part has its length before it.
func (r *Record) sum(previous []byte) []byte {
	h := sha256.New()
	h.Write([]byte("metiva audit v1\n"))
	var number [8]byte
	for _, n := range []int64{r.Seq, r.At.UnixMicro()} {
		binary.BigEndian.PutUint64(number[:], uint64(n))
		h.Write(number[:])
	}
	for _, part := range [][]byte{previous, []byte(r.CompanyID), []byte(r.Actor), []byte(r.Action), []byte(r.Outcome), r.Details} {
		binary.BigEndian.PutUint64(number[:], uint64(len(part)))
		h.Write(number[:])
		h.Write(part)
	}
	return h.Sum(nil)
}

// pageRecords is how many records are read at a time.
const pageRecords = 500

// Each hands over a tenant's records, oldest first, a page in memory at a time. It ends
// with ErrChain before the first that does not follow, and with what fn returns.
func Each(ctx context.Context, pool *tenant.Pool, claim tenant.Claim, fn func(Record) error) error {
	return each(ctx, pool, claim, pageRecords, fn)
}

func each(ctx context.Context, pool *tenant.Pool, claim tenant.Claim, limit int, fn func(Record) error) error {
	c := chain{last: make([]byte, sha256.Size)}
	for {
		page, err := c.page(ctx, pool, claim, limit)
		for _, r := range page {
			if err := fn(r); err != nil {
				return err
			}
		}
		if err != nil {
			return fmt.Errorf("reading audit records: %w", quiet(err))
		}
		if len(page) < limit {
			return nil
		}
	}
}

// chain is how far a tenant's records were read: the last one's number and hash.
type chain struct {
	seq  int64
	last []byte
}

// page reads the records that follow, those before an error too.
func (c *chain) page(ctx context.Context, pool *tenant.Pool, claim tenant.Claim, limit int) (page []Record, err error) {
	err = tenant.Run(ctx, pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		rows, err := tx.Query(ctx, queryList, c.seq, limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r Record
			var details string
			var previous []byte
			if err := rows.Scan(&r.CompanyID, &r.Seq, &r.At, &r.Actor, &r.Action, &r.Outcome, &details, &previous, &r.Hash); err != nil {
				return err
			}
			r.At, r.Details = r.At.UTC(), json.RawMessage(details)
			if r.Seq != c.seq+1 || !bytes.Equal(previous, c.last) || !bytes.Equal(r.Hash, r.sum(c.last)) {
				return fmt.Errorf("%w: from record %d on", ErrChain, c.seq+1)
			}
			c.seq, c.last = r.Seq, r.Hash
			page = append(page, r)
		}
		return rows.Err()
	})
	return page, err
}

// quiet keeps the database's own message, which may quote values, out of errors.
func quiet(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return fmt.Errorf("postgres error %s", pg.Code)
	}
	return err
}
