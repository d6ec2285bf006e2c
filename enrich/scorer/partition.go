package scorer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/metiva-io/metiva/enrich/score"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// claim is the ownership of one partition (kafka.Claim).
type claim interface {
	Partition() int
	Epoch(ctx context.Context, seen uint64) (uint64, error)
	NextBatch(ctx context.Context, lim kafka.BatchLimit) (kafka.Batch, error)
	Plan(ctx context.Context, b kafka.Batch) error
	Commit(ctx context.Context, b kafka.Batch) error
}

// partition works on one owned partition, in the goroutine of its handler.
type partition struct {
	w      *Worker
	number int
	epoch  uint64
	store  *store
	sender sender
	// open is the accounts of the batch at work, opened in the order of their first
	// visit.
	open   map[string]*opened
	opened []*opened

	record  metivav1.Visit
	visit   score.Visit
	signals []*metivav1.Signal
	days    []*metivav1.AccountDay
	encoded []byte
	// sweptDay and sweptErasures are what the states were last searched for.
	sweptDay      int32
	sweptErasures uint64

	// applyTo is Account.Apply; a test makes it panic.
	applyTo func(a *score.Account, dst []*metivav1.Signal, v *score.Visit, rules *score.Rules, at uint64) ([]*metivav1.Signal, score.Outcome)
}

func (w *Worker) newPartition(number int) *partition {
	return &partition{
		w: w, number: number, store: newStore(), sender: sender{producer: w.producer}, open: make(map[string]*opened), sweptDay: -1 << 31,
		applyTo: (*score.Account).Apply,
	}
}

// opened is an account that a batch has visits of.
type opened struct {
	key     string
	account *score.Account
	// applied is the batch's records that the account has taken in.
	applied []*kafka.Record
}

// serve works on a partition until ctx ends or something fails; the batch at work is
// finished first, within the drain timeout. An error starts the partition again from
// its last commit, with the states that were written.
func (w *Worker) serve(ctx context.Context, c claim) error {
	p := w.newPartition(c.Partition())
	defer w.metrics.forget(p.number)
	if err := p.restore(ctx, c); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	limit := kafka.BatchLimit{RecordsMax: w.cfg.BatchRecordsMax, BytesMax: w.cfg.BatchBytesMax, WaitMax: w.cfg.BatchWaitMax}
	for {
		if err := p.finish(ctx, p.sweep); err != nil {
			return err
		}
		wait, cancel := context.WithTimeout(ctx, w.cfg.SweepInterval)
		batch, err := c.NextBatch(wait, limit)
		nothing := wait.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if nothing {
				continue
			}
			return fmt.Errorf("reading visits: %w", err)
		}
		if err := p.finish(ctx, func(ctx context.Context) error { return p.batch(ctx, c, batch) }); err != nil {
			return err
		}
	}
}

// restore reads what the partition's former owners left, and removes what does not
// count of it.
func (p *partition) restore(ctx context.Context, c claim) error {
	started := p.w.deps.Now()
	ends, err := p.w.deps.Kafka.EndOffsets(ctx, schemas.TopicAccountsState)
	if err != nil {
		return fmt.Errorf("reading the end of %s: %w", schemas.TopicAccountsState, err)
	}
	invalid := p.w.metrics.control.WithLabelValues(schemas.TopicAccountsState)
	_, err = p.w.deps.Kafka.ReadRange(ctx, kafka.Range{
		Topic: schemas.TopicAccountsState, Partition: p.number, From: -1, To: ends[p.number], Compacted: true,
	}, func(r *kafka.Record) error {
		if !p.store.restore(r.Key, r.Value) {
			invalid.Inc()
			p.w.deps.Log.Error("the state of an account cannot be read", "partition", r.Partition, "offset", r.Offset)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the states of accounts: %w", err)
	}
	if p.epoch, err = c.Epoch(ctx, p.store.highest); err != nil {
		return fmt.Errorf("taking the accounts of a partition: %w", err)
	}
	outdone := slices.Collect(maps.Keys(p.store.outdone))
	if err := p.finish(ctx, func(ctx context.Context) error { return p.removeRecords(ctx, outdone) }); err != nil {
		return err
	}
	clear(p.store.outdone)
	p.w.metrics.restore.Observe(p.w.deps.Now().Sub(started).Seconds())
	p.w.metrics.setState(p.number, p.store)
	return nil
}

// finish does a piece of work that outlives ctx by the drain timeout, so that a stop
// does not leave it to be repeated.
func (p *partition) finish(ctx context.Context, do func(context.Context) error) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(p.w.cfg.DrainTimeout, cancel) })
	defer stop()
	return do(work)
}

// batch takes one batch from plan to commit.
func (p *partition) batch(ctx context.Context, c claim, batch kafka.Batch) error {
	started := p.w.deps.Now()
	if err := c.Plan(ctx, batch); err != nil {
		return fmt.Errorf("planning a batch: %w", err)
	}
	if err := p.process(ctx, batch.Records); err != nil {
		return err
	}
	if err := c.Commit(ctx, batch); err != nil {
		return fmt.Errorf("committing a batch: %w", err)
	}
	p.w.metrics.batch.Observe(p.w.deps.Now().Sub(started).Seconds())
	return nil
}

// process applies every visit, in order, and returns once all that came of them is
// acknowledged: first what others read, then the states by which a repetition would
// be known.
func (p *partition) process(ctx context.Context, records []kafka.Record) error {
	clear(p.open)
	p.opened = p.opened[:0]
	for i := range records {
		if err := p.one(ctx, &records[i]); err != nil {
			return err
		}
	}
	for _, o := range p.opened {
		if err := p.publishDays(ctx, o); err != nil {
			return err
		}
	}
	if err := p.sender.await(ctx); err != nil {
		return err
	}
	var former []string // records that are written again under this owner's keys
	for _, o := range p.opened {
		if !o.account.Changed() {
			continue
		}
		if e := p.store.find(o.key); e != nil && e.epoch != p.epoch {
			former = append(former, stateKey(o.key, e.epoch))
		}
		var err error
		if p.encoded, err = o.account.Encode(p.encoded[:0]); err != nil {
			return err //nolint:wrapcheck // says what it was
		}
		if err := p.sender.send(ctx, schemas.TopicAccountsState, p.number, []byte(stateKey(o.key, p.epoch)), p.encoded); err != nil {
			return err
		}
		p.store.put(o.key, p.epoch, p.encoded, o.account)
	}
	if err := p.sender.await(ctx); err != nil {
		return err
	}
	if err := p.removeRecords(ctx, former); err != nil {
		return err
	}
	if err := p.forget(ctx, forgottenMemory, p.store.beyond(p.w.cfg.StateBytesMax)); err != nil {
		return err
	}
	p.w.metrics.setState(p.number, p.store)
	return nil
}

// publishDays sends the days of an account that the batch changed.
func (p *partition) publishDays(ctx context.Context, o *opened) error {
	p.days = o.account.Days(p.days[:0])
	for _, d := range p.days {
		var err error
		if p.encoded, err = schemas.Encode(p.encoded[:0], d); err != nil {
			return fmt.Errorf("encoding the day of an account: %w", err)
		}
		target := schemas.EventPartition(d.GetCompanyId(), []byte(d.GetAccountId()), p.w.partitions)
		if err := p.sender.send(ctx, schemas.TopicAccountsEnriched, target, []byte(o.key), p.encoded); err != nil {
			return err
		}
	}
	p.w.metrics.days.Add(float64(len(p.days)))
	return nil
}

// forget removes states, here and for who comes after.
func (p *partition) forget(ctx context.Context, reason string, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	records := make([]string, 0, len(keys))
	for _, key := range keys {
		if e := p.store.find(key); e != nil {
			records = append(records, stateKey(key, e.epoch))
		}
		p.store.remove(key)
	}
	if err := p.removeRecords(ctx, records); err != nil {
		return err
	}
	p.w.metrics.forgotten.WithLabelValues(reason).Add(float64(len(keys)))
	p.w.metrics.setState(p.number, p.store)
	return nil
}

// removeRecords removes records of accounts.state.
func (p *partition) removeRecords(ctx context.Context, keys []string) error {
	for _, key := range keys {
		if err := p.sender.send(ctx, schemas.TopicAccountsState, p.number, []byte(key), nil); err != nil {
			return err
		}
	}
	return p.sender.await(ctx)
}

// sweep forgets the accounts of erased tenants and, once a day, those whose tenants
// keep nothing of them any more.
func (p *partition) sweep(ctx context.Context) error {
	if at := p.w.erasures.at(); at != p.sweptErasures {
		err := p.forget(ctx, forgottenErasure, p.store.matching(func(e *entry) bool { return p.w.erasures.has(e.companyID()) }))
		if err != nil {
			return err
		}
		p.sweptErasures = at
	}
	if today := score.DayOf(p.w.deps.Now().UnixMilli(), time.UTC); today != p.sweptDay {
		// A site's date is at most a day ahead of UTC's, or behind.
		err := p.forget(ctx, forgottenRetention, p.store.matching(func(e *entry) bool { return e.lastDay < today-1 }))
		if err != nil {
			return err
		}
		p.sweptDay = today
	}
	return nil
}

// errPanic is a visit that the scorer has no answer to.
var errPanic = errors.New("a visit could not be scored")
