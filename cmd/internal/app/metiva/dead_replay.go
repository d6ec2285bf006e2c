package metiva

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

type deadReplay struct {
	deadSource
	deadFilter
	Letter string `help:"Only this one, partition and offset on events.dead: 2/17."`
	DryRun bool   `help:"Say what would be replayed, and produce nothing."`
}

// replayReport is the last line replay prints.
type replayReport struct {
	Matched  int  `json:"matched"`
	Replayed int  `json:"replayed"`
	DryRun   bool `json:"dry_run"`
	// More: others match that are beyond --limit.
	More bool `json:"more"`
	// Repeated are letters of a record that another letter of this run is of, too: it
	// was replayed before and died again.
	Repeated int `json:"repeated"`
	// Of letters that cannot be replayed: too large to have been kept, without a
	// source, or of a partition the source topic does not have any more.
	WithoutValue     int `json:"without_value"`
	WithoutSource    int `json:"without_source"`
	WithoutPartition int `json:"without_partition"`
}

// errUnreplayed: somebody must look at the rest.
var errUnreplayed = errors.New("some letters cannot be replayed")

// Run replays the letters that match and prints how many as JSON. It fails when some
// could not be.
func (c *deadReplay) Run(ctx context.Context, t terminal) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	client, err := c.open(ctx, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	producer, err := client.NewProducer(kafka.ProducerConfig{Compression: "snappy"})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- producer.Run(running) }()
	defer func() { stop(); err = errors.Join(err, <-ended) }()

	run := replayRun{cmd: c, client: client, producer: producer, out: json.NewEncoder(t.out), done: make(map[[sha256.Size]byte]bool), partitions: make(map[string]int)}
	run.report.DryRun = c.DryRun
	failed := c.letters(ctx, client, &run)
	if err := run.out.Encode(run.report); err != nil {
		return fmt.Errorf("printing the report: %w", errors.Join(failed, err))
	}
	if failed != nil {
		return failed
	}
	if c.Letter != "" && run.report.Matched == 0 {
		return errNoLetter
	}
	if r := run.report; r.WithoutValue+r.WithoutSource+r.WithoutPartition > 0 {
		return errUnreplayed
	}
	return nil
}

// letters gives the run its letters.
func (c *deadReplay) letters(ctx context.Context, client *kafka.Client, run *replayRun) error {
	if c.Letter == "" {
		more, err := c.each(ctx, client, func(l *letter, r *kafka.Record) error { return run.take(ctx, l, r) })
		run.report.More = more
		return err
	}
	partition, offset, err := parseLetter(c.Letter)
	if err != nil {
		return err
	}
	return oneLetter(ctx, client, partition, offset, func(r *kafka.Record) error {
		l := readLetter(r)
		if !c.matches(&l) {
			return nil
		}
		return run.take(ctx, &l, r)
	})
}

// check wants to be told what to replay: everything is never meant.
func (c *deadReplay) check() error {
	if c.Reason == "" && c.From == "" && c.Letter == "" {
		return fmt.Errorf("%w: say which: --reason, --from or --letter", app.ErrConfiguration)
	}
	if c.Letter != "" {
		if _, _, err := parseLetter(c.Letter); err != nil {
			return err
		}
	}
	return c.prepare(time.Now())
}

type replayRun struct {
	cmd        *deadReplay
	client     *kafka.Client
	producer   *kafka.Producer
	out        *json.Encoder
	done       map[[sha256.Size]byte]bool
	partitions map[string]int
	report     replayReport
}

// putBack is the record's value as it is put back: an event, or a drop, says that it is
// a copy, so that the ledger does not take it for another acceptance (ADR 0018). What
// cannot be read is put back as it was.
func putBack(topic string, value []byte) []byte {
	var m proto.Message
	switch topic {
	case schemas.TopicEventsCollected:
		e := new(metivav1.CollectedEvent)
		if proto.Unmarshal(value, e) != nil || len(e.GetEventId()) == 0 {
			return value
		}
		e.Replayed, m = true, e
	case schemas.TopicEventsEnriched:
		r := new(metivav1.EnrichedRecord)
		if proto.Unmarshal(value, r) != nil {
			return value
		}
		switch {
		case r.GetEvent() != nil:
			r.GetEvent().Replayed = true
		case r.GetDrop() != nil:
			r.GetDrop().Replayed = true
		default:
			return value
		}
		m = r
	default:
		return value
	}
	marked, err := schemas.Encode(nil, m)
	if err != nil {
		return value
	}
	return marked
}

// take replays one letter: the record goes where it was. What is replayed again is told
// by its event id or version, downstream.
func (r *replayRun) take(ctx context.Context, l *letter, rec *kafka.Record) error {
	r.report.Matched++
	switch l.Replayable {
	case replayNoValue:
		r.report.WithoutValue++
		return r.out.Encode(l)
	case replayNoSource:
		r.report.WithoutSource++
		return r.out.Encode(l)
	}
	n, asked := r.partitions[l.SourceTopic]
	if !asked {
		var err error
		if n, err = r.client.Partitions(ctx, l.SourceTopic); err != nil {
			return fmt.Errorf("reading the partitions of %s: %w", l.SourceTopic, err)
		}
		r.partitions[l.SourceTopic] = n
	}
	if l.SourcePartition >= n {
		r.report.WithoutPartition++
		return r.out.Encode(l)
	}
	value := putBack(l.SourceTopic, rec.Value)
	sum := sha256.Sum256(append([]byte(l.SourceTopic+"\x00"), value...))
	if r.done[sum] {
		r.report.Repeated++
		return nil
	}
	r.done[sum] = true
	if !r.cmd.DryRun {
		mark := kafka.Header{Key: schemas.HeaderDeadLetter, Value: []byte(l.Letter)}
		if err := r.producer.ProduceSync(ctx, l.SourceTopic, l.SourcePartition, rec.Key, value, mark); err != nil {
			return fmt.Errorf("replaying the dead letter %s: %w", l.Letter, err)
		}
	}
	r.report.Replayed++
	return nil
}
