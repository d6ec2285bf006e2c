package metiva

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/obs"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// deadCommand is about events.dead: records a stage could not take.
type deadCommand struct {
	List   deadList   `cmd:"" help:"List dead letters, a line of JSON each: why and where from, never what they hold."`
	Show   deadShow   `cmd:"" help:"Print one dead letter: its headers, and of an event what names nobody."`
	Replay deadReplay `cmd:"" help:"Produce the records of dead letters to the topics they came from again."`
}

// deadSource is the topic and how to read it.
type deadSource struct{ storeFlags }

// open connects to Kafka. An absent broker is an error, not waited for.
func (s deadSource) open(ctx context.Context, t terminal) (*kafka.Client, error) {
	brokers := s.KafkaBrokers
	if len(brokers) == 0 {
		running, err := stack.Find(s.Data)
		if err != nil {
			return nil, err
		}
		brokers = running.KafkaBrokers
	}
	client, err := kafka.NewClient(s.kafkaConfig(brokers), obs.NewLogger(t.err, "dead", slog.LevelWarn), prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	if err := client.Ping(ctx); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return client, nil
}

// deadFilter says which letters.
type deadFilter struct {
	Reason string `help:"Only of this reason, such as unknown_key."`
	Stage  string `help:"Only of this stage: enrich or sink."`
	Topic  string `help:"Only of records of this topic."`
	From   string `help:"Only from this moment on, RFC 3339 or a time ago (36h)."`
	To     string `help:"Only before this moment, RFC 3339 or a time ago."`
	Limit  int    `default:"100" help:"At most so many, the oldest of each partition first."`

	from, to time.Time
}

// deadLimitMax bounds one command.
const deadLimitMax = 1_000_000

// prepare reads the moments and refuses words that no letter has.
func (f *deadFilter) prepare(now time.Time) error {
	var faults []error
	var err error
	if f.from, err = momentOf(f.From, now); err != nil {
		faults = append(faults, fmt.Errorf("--from: %w", err))
	}
	if f.to, err = momentOf(f.To, now); err != nil {
		faults = append(faults, fmt.Errorf("--to: %w", err))
	}
	if f.Reason != "" && !isLabel(metivav1.Reason(0), f.Reason) {
		faults = append(faults, fmt.Errorf("--reason: %q is no reason", f.Reason))
	}
	if f.Stage != "" && !isLabel(metivav1.Stage(0), f.Stage) {
		faults = append(faults, fmt.Errorf("--stage: %q is no stage", f.Stage))
	}
	if f.Limit < 1 || f.Limit > deadLimitMax {
		faults = append(faults, fmt.Errorf("--limit must be between 1 and %d", deadLimitMax))
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("%w:\n%w", app.ErrConfiguration, err)
	}
	return nil
}

// momentOf reads a moment; none is the zero time.
func momentOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, errors.New("must be a time as 2026-11-22T15:04:05Z, or a duration")
	}
	return at, nil
}

func isLabel[E schemas.Enum](zero E, label string) bool {
	for _, known := range schemas.Labels(zero) {
		if known == label {
			return true
		}
	}
	return false
}

// letter is what is told of a dead letter.
type letter struct {
	// Letter is partition/offset of events.dead, as show and replay take it.
	Letter string    `json:"letter"`
	Time   time.Time `json:"time"`
	Reason string    `json:"reason"`
	Stage  string    `json:"stage"`
	// Of the record it was.
	SourceTopic     string `json:"source_topic"`
	SourcePartition int    `json:"source_partition"`
	SourceOffset    int64  `json:"source_offset"`
	KeyBytes        int    `json:"key_bytes"`
	ValueBytes      int    `json:"value_bytes"`
	// Replayable says why not, or "yes".
	Replayable string `json:"replayable"`
}

// Answers to whether a letter can be replayed.
const (
	replayYes      = "yes"
	replayNoValue  = "no: its value was over the limit and is not kept; the source topic may still have the record"
	replayNoSource = "no: its headers do not say where it came from"
)

// replayTopics are the topics a record may be put back on, which is where stages
// that make dead letters read.
func replayTopics() []string {
	return []string{
		schemas.TopicEventsCollected, schemas.TopicEventsEnriched, schemas.TopicVisitsEnriched, schemas.TopicAccountsEnriched, schemas.TopicLedgerEdge,
	}
}

func readLetter(r *kafka.Record) letter {
	l := letter{Letter: fmt.Sprintf("%d/%d", r.Partition, r.Offset), Time: r.Time.UTC(), SourcePartition: -1, SourceOffset: -1, KeyBytes: len(r.Key), ValueBytes: len(r.Value)}
	for _, h := range r.Headers {
		value := string(h.Value)
		switch h.Key {
		case schemas.HeaderDeadReason:
			l.Reason = known(metivav1.Reason(0), value)
		case schemas.HeaderDeadStage:
			l.Stage = known(metivav1.Stage(0), value)
		case schemas.HeaderDeadTopic:
			if slices.Contains(replayTopics(), value) {
				l.SourceTopic = value
			}
		case schemas.HeaderDeadPartition:
			if n, err := strconv.Atoi(value); err == nil && n >= 0 {
				l.SourcePartition = n
			}
		case schemas.HeaderDeadOffset:
			if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 {
				l.SourceOffset = n
			}
		case schemas.HeaderDeadTimeMs:
			if ms, err := strconv.ParseInt(value, 10, 64); err == nil {
				l.Time = time.UnixMilli(ms).UTC()
			}
		}
	}
	switch {
	case l.SourceTopic == "" || l.SourcePartition < 0:
		l.Replayable = replayNoSource
	case len(r.Value) == 0:
		l.Replayable = replayNoValue
	default:
		l.Replayable = replayYes
	}
	return l
}

// known keeps closed words only: a header may hold anything.
func known[E schemas.Enum](zero E, label string) string {
	if isLabel(zero, label) {
		return label
	}
	return "unknown"
}

func (f *deadFilter) matches(l *letter) bool {
	return (f.Reason == "" || f.Reason == l.Reason) && (f.Stage == "" || f.Stage == l.Stage) && (f.Topic == "" || f.Topic == l.SourceTopic) &&
		(f.from.IsZero() || !l.Time.Before(f.from)) && (f.to.IsZero() || l.Time.Before(f.to))
}

// each gives the letters that match, up to the limit, and reports whether there are
// more.
func (f *deadFilter) each(ctx context.Context, client *kafka.Client, do func(*letter, *kafka.Record) error) (more bool, err error) {
	left := f.Limit
	err = client.Scan(ctx, schemas.TopicEventsDead, func(r *kafka.Record) error {
		l := readLetter(r)
		if !f.matches(&l) {
			return nil
		}
		if left--; left < 0 {
			more = true
			return kafka.ErrScanEnough
		}
		return do(&l, r)
	})
	return more, err
}

type deadList struct {
	deadSource
	deadFilter
}

// Run prints the letters that match.
func (c *deadList) Run(ctx context.Context, t terminal) (err error) {
	if err := c.prepare(time.Now()); err != nil {
		return err
	}
	client, err := c.open(ctx, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	out := json.NewEncoder(t.out)
	more, err := c.each(ctx, client, func(l *letter, _ *kafka.Record) error { return out.Encode(l) })
	if err == nil && more {
		_, err = fmt.Fprintf(t.err, "more letters match than --limit %d\n", c.Limit)
	}
	return err
}

// parseLetter reads partition/offset.
func parseLetter(text string) (partition int, offset int64, err error) {
	p, o, ok := strings.Cut(text, "/")
	if partition, err = strconv.Atoi(p); err == nil && ok {
		offset, err = strconv.ParseInt(o, 10, 64)
	}
	if !ok || err != nil || partition < 0 || offset < 0 {
		return 0, 0, fmt.Errorf("%w: a letter is named by its partition and offset, as 2/17", app.ErrConfiguration)
	}
	return partition, offset, nil
}
