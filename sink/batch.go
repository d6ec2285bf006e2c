package sink

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// batchWriter is what the writers of both topics share.
type batchWriter struct {
	worker *Worker
	batch  kafka.Batch
	hash   string
	now    time.Time // of the first attempt: what is expired is so in all of them
	// deadSent holds the offsets whose dead letter was acknowledged, so that a
	// further attempt at the batch does not send them again.
	deadSent map[int64]bool
	// again, which the attempts share: one before may have inserted something. Nil is
	// never. round counts, within an attempt, the tokens that rows were inserted under
	// (untilThere), and refused are the rows that ClickHouse did not take under any.
	again   *bool
	round   int
	refused map[place]bool
}

// place is where a row belongs: the table, and the offset of its record.
type place struct {
	table    string
	position int64
}

// hashBatch tells this range of this topic from the same range of a topic
// that was deleted and made again, which would otherwise share its tokens. It has to
// tell apart what chance brought, not what somebody made: two checksums that the
// processor knows are enough, and cost a sixth of SHA-256.
func hashBatch(b kafka.Batch) string {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	var one, other uint32
	var n [16]byte
	for i := range b.Records {
		binary.BigEndian.PutUint64(n[:8], uint64(b.Records[i].Offset))
		binary.BigEndian.PutUint64(n[8:], uint64(len(b.Records[i].Value)))
		one, other = crc32.Update(one, castagnoli, n[:]), crc32.Update(other, crc32.IEEETable, n[:])
		one, other = crc32.Update(one, castagnoli, b.Records[i].Value), crc32.Update(other, crc32.IEEETable, b.Records[i].Value)
	}
	return fmt.Sprintf("%08x%08x", one, other)
}

// token names the rows of a range of the batch in one table. It depends on the
// records only, never on what is stored already: a repeated attempt that finds
// a part of its rows stored must use the token of the attempt that may still
// be on its way. Those of further rounds differ by the number of the round only.
func (w *batchWriter) token(table string, first, last int64) string {
	return w.tokenOf(w.round, table, first, last)
}

func (w *batchWriter) tokenOf(round int, table string, first, last int64) string {
	token := fmt.Sprintf("%s/%d/%d-%d/%s/%s", w.batch.Topic, w.batch.Partition, first, last, w.hash, table)
	if round > 0 {
		token += "/again/" + strconv.Itoa(round)
	}
	return token
}

// dead puts a record on events.dead, payload as it came.
func (w *batchWriter) dead(ctx context.Context, r *kafka.Record, reason metivav1.Reason) error {
	if w.deadSent[r.Offset] {
		return nil
	}
	deps := w.worker.deps
	partition, err := deps.Dead.PartitionFor(ctx, schemas.TopicEventsDead, r.Key)
	if err != nil {
		return fmt.Errorf("finding the partition of a dead letter: %w", err)
	}
	text := schemas.Label(reason)
	header := func(key, value string) kafka.Header { return kafka.Header{Key: key, Value: []byte(value)} }
	err = deps.Dead.ProduceSync(ctx, schemas.TopicEventsDead, partition, r.Key, r.Value,
		header(schemas.HeaderDeadReason, text),
		header(schemas.HeaderDeadStage, schemas.Label(metivav1.Stage_STAGE_SINK)),
		header(schemas.HeaderDeadTopic, w.batch.Topic),
		header(schemas.HeaderDeadPartition, strconv.Itoa(w.batch.Partition)),
		header(schemas.HeaderDeadOffset, strconv.FormatInt(r.Offset, 10)),
		header(schemas.HeaderDeadTimeMs, strconv.FormatInt(deps.Now().UnixMilli(), 10)))
	if err != nil {
		return fmt.Errorf("writing a dead letter: %w", err)
	}
	w.deadSent[r.Offset] = true
	w.worker.metrics.dead.WithLabelValues(text).Inc()
	return nil
}

// timed runs one insert and measures it.
func (w *batchWriter) timed(table string, rows int, insert func() error) error {
	if rows == 0 {
		return nil
	}
	start := time.Now()
	if err := insert(); err != nil {
		if w.again != nil && !clickhouse.DataFault(err) {
			*w.again = true // whether it was written is not known
		}
		return err
	}
	w.worker.metrics.inserts.WithLabelValues(table).Observe(time.Since(start).Seconds())
	w.worker.metrics.rows.WithLabelValues(table).Add(float64(rows))
	return nil
}

// bisect inserts rows, which are in the order of their positions within
// first..last, with at most one row for each. When the insert is refused for
// the values in it, the range is halved, down to the rows that are refused
// alone, which go to reject. The halves are of the range, not of the rows: they
// are the same ones when some rows have been stored by an earlier attempt.
func bisect[R any](rows []R, position func(*R) int64, first, last int64, insert func(first, last int64, rows []R) error, reject func(*R) error) error {
	if len(rows) == 0 {
		return nil
	}
	err := insert(first, last, rows)
	if err == nil || !clickhouse.DataFault(err) {
		return err
	}
	if len(rows) == 1 {
		return reject(&rows[0])
	}
	for {
		middle := first + (last-first)/2
		n := 0
		for n < len(rows) && position(&rows[n]) <= middle {
			n++
		}
		switch n {
		case 0:
			first = middle + 1
		case len(rows):
			last = middle
		default:
			if err := bisect(rows[:n], position, first, middle, insert, reject); err != nil {
				return err
			}
			return bisect(rows[n:], position, middle+1, last, insert, reject)
		}
	}
}
