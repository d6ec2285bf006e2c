package enrich

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/eventwire"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Faults of a replay.
var (
	// ErrBeyondRetention: a part of the range is no longer on events.collected.
	ErrBeyondRetention = errors.New("the range begins before what events.collected still has")
	// ErrUnsettled: a part of the range is too young.
	ErrUnsettled = errors.New("the range ends too late")
)

// Replay says what to enrich again. Its progress is kept in Kafka under its name,
// which is made of the range and the tenant.
type Replay struct {
	// From and To bound the times at which the records came to events.collected.
	From, To time.Time
	// Company is one tenant; empty, all.
	Company string
	// Partial takes what is left of a range that retention has begun to remove.
	Partial bool
	// Restart forgets the progress of a run that was stopped.
	Restart bool
	// SettledFor is how long ago To must be at least (default 1 h): visits that go on
	// would be written over by what live workers remember of them.
	SettledFor time.Duration
	// VisitBytesMax is the memory for visits, of one partition at a time (default 256
	// MiB).
	VisitBytesMax int
	// Standing gives the visits of a list that stand in ClickHouse, by id. Nil leaves
	// all visits as they are.
	Standing func(ctx context.Context, visits []*metivav1.Visit) (map[visit.ID]StandingVisit, error)
	// Note is told of progress; it may be nil.
	Note func(partition int, done, of int64)
}

// StandingVisit is what readers have of a visit.
type StandingVisit struct {
	Version uint64
	// AccountID is empty where no company is known; Confidence is the company's.
	AccountID  string
	Confidence float32
}

const (
	settledForDefault    = time.Hour
	replayVisitsDefault  = 256 << 20
	replayFlushRecords   = 2000
	replayStandingChunk  = 500
	replayGroupPrefix    = "metiva-replay-"
	replayGroupNameBytes = 8
)

// Validate reports every fault.
func (r *Replay) Validate(now time.Time) error {
	var faults []error
	if r.From.IsZero() || !r.From.Before(r.To) {
		faults = append(faults, errors.New("a replay begins before it ends"))
	}
	if r.Company != "" && !isCompanyID(r.Company) {
		faults = append(faults, errors.New("the tenant's company id is not one"))
	}
	if r.SettledFor < 0 || r.VisitBytesMax < 0 {
		faults = append(faults, errors.New("a limit of the replay is negative"))
	}
	if latest := now.Add(-r.settledFor()); r.To.After(latest) {
		faults = append(faults, fmt.Errorf("%w: it must end %s ago, at %s or before", ErrUnsettled, r.settledFor(), latest.UTC().Format(time.RFC3339)))
	}
	return errors.Join(faults...)
}

func (r *Replay) settledFor() time.Duration { return cmp.Or(r.SettledFor, settledForDefault) }

// Name is that of the run, and of the group its progress is noted for.
func (r *Replay) Name() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/%d/%s", r.From.UnixMilli(), r.To.UnixMilli(), r.Company))
	return replayGroupPrefix + hex.EncodeToString(sum[:replayGroupNameBytes])
}

// ReplayDay is what a replay has of a tenant's day of receipt, UTC.
type ReplayDay struct {
	CompanyID string    `json:"company_id"`
	Day       time.Time `json:"day"`
	Events    uint64    `json:"events"`
}

// ReplayReport says what became of the range.
type ReplayReport struct {
	Name string      `json:"name"`
	Days []ReplayDay `json:"days"`
	// Events were enriched again; Dropped are those of subjects who were erased since,
	// or whose keys were destroyed, which replaces nothing.
	Events  uint64 `json:"events"`
	Dropped uint64 `json:"dropped"`
	// Withdrawn were left as they are, because the visitor took consent back since;
	// Unreadable because they cannot be read.
	Withdrawn  uint64 `json:"withdrawn"`
	Unreadable uint64 `json:"unreadable"`
	// Unanswered are those decided without the names of their network, since the resolver
	// of reverse DNS did not answer: they may have lost a company they had.
	Unanswered uint64 `json:"reverse_dns_unanswered"`
	// Visits were sent again, Moved those of them that had another company before.
	// Unknown do not stand in ClickHouse and were left out: removed, erased, or cut by
	// where reading began. Beyond is those of journals that had no room.
	Visits  uint64 `json:"visits"`
	Moved   uint64 `json:"visits_moved"`
	Unknown uint64 `json:"visits_unknown"`
	Beyond  uint64 `json:"visits_beyond_memory"`
	// Resumed says that a former run of this name had been stopped.
	Resumed bool `json:"resumed"`
	DryRun  bool `json:"dry_run"`
}

// span is the part of a partition that a replay works on: the events of [from, to) are
// enriched again, and those of [warm, cool) read for the visits they belong to.
type span struct {
	partition            int
	warm, from, to, cool int64
	next                 int64 // behind the last event that was noted as done
	end                  int64 // of the partition when the run began
}

// replayRun is one run.
type replayRun struct {
	Replay
	kafka  *kafka.Client
	now    time.Time
	spans  []span
	days   map[ReplayDay]uint64
	report ReplayReport
}

func newReplayRun(ctx context.Context, client *kafka.Client, r Replay, now time.Time, silentMs int64) (*replayRun, error) {
	if err := r.Validate(now); err != nil {
		return nil, err
	}
	run := &replayRun{Replay: r, kafka: client, now: now, days: make(map[ReplayDay]uint64)}
	run.report.Name = r.Name()
	return run, run.plan(ctx, silentMs)
}

// plan finds the offsets.
func (run *replayRun) plan(ctx context.Context, silentMs int64) error {
	const topic = schemas.TopicEventsCollected
	silent := time.Duration(silentMs) * time.Millisecond
	var at [6]map[int]int64
	var err error
	for i, list := range []func() (map[int]int64, error){
		func() (map[int]int64, error) { return run.kafka.OffsetsAt(ctx, topic, run.From.Add(-silent)) },
		func() (map[int]int64, error) { return run.kafka.OffsetsAt(ctx, topic, run.From) },
		func() (map[int]int64, error) { return run.kafka.OffsetsAt(ctx, topic, run.To) },
		func() (map[int]int64, error) { return run.kafka.OffsetsAt(ctx, topic, run.To.Add(silent)) },
		func() (map[int]int64, error) { return run.kafka.StartOffsets(ctx, topic) },
		func() (map[int]int64, error) { return run.kafka.EndOffsets(ctx, topic) },
	} {
		if at[i], err = list(); err != nil {
			return fmt.Errorf("planning the replay: %w", err)
		}
	}
	committed, err := run.kafka.CommittedOffsets(ctx, run.Name(), topic)
	if err != nil {
		return fmt.Errorf("reading the progress of the replay: %w", err)
	}
	partitions := len(at[0])
	for p := range partitions {
		if !run.holds(p, partitions) {
			continue
		}
		s := span{partition: p, warm: at[0][p], from: at[1][p], to: at[2][p], cool: at[3][p], end: at[5][p]}
		if err := run.checkStart(ctx, p, at[4][p], s.end); err != nil {
			return err
		}
		s.next = s.from
		if done := committed[p]; done > s.from && done <= s.to && !run.Restart {
			s.next, run.report.Resumed = done, true
		}
		run.spans = append(run.spans, s)
	}
	return nil
}

// holds reports whether a partition may have events of the tenant.
func (run *replayRun) holds(partition, partitions int) bool {
	spread := max(1, partitions/schemas.TenantBuckets)
	return run.Company == "" || partition/spread == int(schemas.TenantBucket(run.Company))
}

// checkStart refuses a range of which retention may have removed the beginning.
func (run *replayRun) checkStart(ctx context.Context, partition int, start, end int64) error {
	if start == 0 || run.Partial {
		return nil
	}
	if start == end {
		return fmt.Errorf("%w: partition %d has no record left; replay what there is with --partial", ErrBeyondRetention, partition)
	}
	var first time.Time
	_, err := run.kafka.ReadRange(ctx, kafka.Range{Topic: schemas.TopicEventsCollected, Partition: partition, From: start, To: start + 1, Compacted: true},
		func(r *kafka.Record) error { first = r.Time; return nil })
	if err != nil {
		return fmt.Errorf("looking for the beginning of a partition: %w", err)
	}
	if first.After(run.From) {
		return fmt.Errorf("%w: partition %d begins at %s; replay from there on, or what there is with --partial", ErrBeyondRetention, partition, first.UTC().Format(time.RFC3339))
	}
	return nil
}

// note counts an event of a day.
func (run *replayRun) note(e *metivav1.CollectedEvent) {
	day := time.UnixMilli(e.GetReceivedAtMs()).UTC().Truncate(24 * time.Hour)
	run.days[ReplayDay{CompanyID: e.GetCompanyId(), Day: day}]++
}

// finish is the report, its days in order.
func (run *replayRun) finish() ReplayReport {
	for day, n := range run.days {
		day.Events = n
		run.report.Days = append(run.report.Days, day)
	}
	slices.SortFunc(run.report.Days, func(a, b ReplayDay) int {
		return cmp.Or(cmp.Compare(a.CompanyID, b.CompanyID), a.Day.Compare(b.Day))
	})
	return run.report
}

// CountReplay says how many events of which tenants and days a replay would enrich
// again. It opens nothing and writes nothing.
func CountReplay(ctx context.Context, client *kafka.Client, r Replay, now time.Time) (ReplayReport, error) {
	run, err := newReplayRun(ctx, client, r, now, visit.Limits{}.SilentMax())
	if err != nil {
		return ReplayReport{}, err
	}
	run.report.DryRun = true
	var c eventwire.Collected
	for _, s := range run.spans {
		_, err := client.ReadRange(ctx, kafka.Range{Topic: schemas.TopicEventsCollected, Partition: s.partition, From: s.next, To: s.to}, func(rec *kafka.Record) error {
			switch {
			case !decode(&c, rec.Value):
				run.report.Unreadable++
			case run.Company == "" || c.Event.GetCompanyId() == run.Company:
				run.note(&c.Event)
				run.report.Events++
			}
			return nil
		})
		if err != nil {
			return ReplayReport{}, fmt.Errorf("counting the events of the replay: %w", err)
		}
	}
	return run.finish(), nil
}
