package erasure

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/tenant"
)

const (
	queryLockTally = `SELECT found, progress FROM core.erasures WHERE id = $1 FOR UPDATE`
	queryKeepTally = `UPDATE core.erasures SET found = $2, progress = $3, updated_at = now() WHERE id = $1`
)

// tally counts what is erased, each row, key and record once, however often the work is
// interrupted and begun again. It is kept before what it counts is deleted.
type tally struct {
	// found is what was counted, over all rounds.
	found map[string]uint64
	progress
}

// progress tells what found has in it from what a later attempt comes upon.
type progress struct {
	// Pass numbers the deletions of rows; the mark of one stands in its statements
	// (work.mark), so that ClickHouse says which were begun.
	Pass int `json:"pass,omitempty"`
	// Pending are the rows by table that are in found and that the pass was about to
	// delete. It is empty once they are.
	Pending map[string]uint64 `json:"pending,omitempty"`
	// Seen is the offset by topic and partition before which records are in found.
	Seen map[string]map[int]int64 `json:"seen,omitempty"`
	// Base is found as it was when the round began; empty in the first.
	Base map[string]uint64 `json:"base,omitempty"`
	// ReopenedAt is when it began.
	ReopenedAt *time.Time `json:"reopened_at,omitempty"`
}

// keep changes the tally in one transaction.
func (w *work) keep(ctx context.Context, change func(*tally)) error {
	err := tenant.Run(ctx, w.e.cfg.Pool, w.claim, func(ctx context.Context, tx tenant.Tx) error {
		return keepIn(ctx, tx, w.is.ID, change)
	})
	if err != nil {
		return fmt.Errorf("noting what there is to erase: %w", quiet(err))
	}
	return nil
}

func keepIn(ctx context.Context, tx tenant.Tx, id string, change func(*tally)) error {
	var found, at []byte
	if err := tx.QueryRow(ctx, queryLockTally, id).Scan(&found, &at); err != nil {
		return err
	}
	t := tally{found: make(map[string]uint64)}
	if err := json.Unmarshal(found, &t.found); err != nil {
		return err
	}
	if err := json.Unmarshal(at, &t.progress); err != nil {
		return err
	}
	change(&t)
	found, err := json.Marshal(t.found)
	if err != nil {
		return err
	}
	if at, err = json.Marshal(t.progress); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, queryKeepTally, id, found, at)
	return err
}

// add counts what the same transaction deletes.
func (t *tally) add(found map[string]uint64) {
	for what, n := range found {
		t.found[what] += n
	}
}

// beginPass counts the rows that are there, in place of those the pass before was about
// to delete and did not: begun are the tables whose deletion it began. Of a table where
// less is there than was pending somebody began it though nothing is known of it any
// more (ClickHouse keeps a hundred deletions), so what was counted stays.
func (t *tally) beginPass(rows map[string]uint64, begun map[string]bool) {
	pending := make(map[string]uint64, len(rows))
	for table, n := range rows {
		before := t.Pending[table]
		if begun[table] {
			before = 0
		}
		if what := "clickhouse." + table; n > before {
			t.found[what] += n - before
		} else if _, known := t.found[what]; !known {
			t.found[what] = 0
		}
		pending[table] = n
	}
	t.Pass++
	t.Pending = pending
}

// mark names a pass of the erasure in the text of its deletions.
func mark(id string, pass int) string { return id + "/" + strconv.Itoa(pass) }

// readTally is the tally as it stands.
func (w *work) readTally(ctx context.Context) (is progress, err error) {
	err = tenant.Run(ctx, w.e.cfg.Pool, w.claim, func(ctx context.Context, tx tenant.Tx) error {
		var found, raw []byte
		if err := tx.QueryRow(ctx, queryLockTally, w.is.ID).Scan(&found, &raw); err != nil {
			return err
		}
		return json.Unmarshal(raw, &is)
	})
	if err != nil {
		return progress{}, fmt.Errorf("reading what was found: %w", quiet(err))
	}
	return is, nil
}

// beginPass counts the rows and notes them, and returns the mark of their deletion.
// Deletions an earlier attempt began are waited for: their rows count once.
func (w *work) beginPass(ctx context.Context) (string, error) {
	before, err := w.readTally(ctx)
	if err != nil {
		return "", err
	}
	rows, err := w.rows.Count(ctx)
	if err != nil {
		return "", err
	}
	var begun map[string]bool
	if len(before.Pending) > 0 {
		if begun, err = w.rows.Begun(ctx, mark(w.is.ID, before.Pass)); err != nil {
			return "", err
		}
	}
	if len(begun) > 0 {
		if _, err := w.proof(ctx); err != nil {
			return "", err
		}
		if rows, err = w.rows.Count(ctx); err != nil {
			return "", err
		}
	}
	var pass int
	err = w.keep(ctx, func(t *tally) {
		t.beginPass(rows, begun)
		pass = t.Pass
	})
	return mark(w.is.ID, pass), err
}

// endPass notes that what was pending is deleted.
func (w *work) endPass(ctx context.Context) error {
	return w.keep(ctx, func(t *tally) { t.Pending = nil })
}

// place is a record of a compacted topic.
type place struct {
	partition int
	key       string
}

// survey is what a compacted topic holds of a subject.
type survey struct {
	topic string
	live  map[place]struct{}
	// born are the offsets, by partition, at which one of them appeared that is gone or
	// there now; ends is where each partition ended.
	born map[int][]int64
	ends map[int]int64
}

// look reads a topic for records of the subject.
func (w *work) look(ctx context.Context, topic string, of func(key, value []byte) bool) (survey, error) {
	s := survey{topic: topic, live: make(map[place]struct{}), born: make(map[int][]int64), ends: make(map[int]int64)}
	err := w.e.cfg.Client.Scan(ctx, topic, func(r *kafka.Record) error {
		s.ends[r.Partition] = r.Offset + 1
		at := place{r.Partition, string(r.Key)}
		if len(r.Value) == 0 || !of(r.Key, r.Value) {
			delete(s.live, at)
			return nil
		}
		if _, known := s.live[at]; !known {
			s.live[at] = struct{}{}
			s.born[r.Partition] = append(s.born[r.Partition], r.Offset)
		}
		return nil
	})
	if err != nil {
		return survey{}, fmt.Errorf("looking for what %s keeps: %w", topic, err)
	}
	return s, nil
}

// count adds what the survey found and no survey before: at first what is there, later
// whatever appeared since, those included that somebody else has removed meanwhile.
func (t *tally) count(what string, s survey) {
	seen, again := t.Seen[s.topic]
	if !again {
		t.found[what] += uint64(len(s.live))
	}
	for partition, offsets := range s.born {
		before := seen[partition]
		if s.ends[partition] < before {
			before = 0 // the topic was made anew
		}
		for _, offset := range offsets {
			if again && offset >= before {
				t.found[what]++
			}
		}
	}
	if t.Seen == nil {
		t.Seen = make(map[string]map[int]int64)
	}
	t.Seen[s.topic] = maps.Clone(s.ends)
}
