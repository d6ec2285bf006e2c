package collector

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	// consentChainsMax is how many chains one tenant has here. Each takes a record a
	// round trip, some 160 a second; the largest site's visitors choose more often.
	consentChainsMax = 16
	// consentChainBusy is how many records wait at a tenant's shortest queue before it
	// gets another chain. Most tenants have one.
	consentChainBusy = 4
	// consentQueueMax is how many consent records wait at one chain, for about half a
	// second.
	consentQueueMax = 64
	// Pauses between two attempts to make the same consent record durable.
	consentRetryMin = 20 * time.Millisecond
	consentRetryMax = 100 * time.Millisecond
)

var (
	// errConsentQueueFull: the tenant's consent records come faster than Kafka
	// takes them.
	errConsentQueueFull  = errors.New("collector: too many consent records of the tenant wait")
	errConsentUnwritable = errors.New("collector: the consent record cannot be encoded")
	errConsentStopped    = errors.New("collector: no consent records are taken any more")
)

// recorder chains the consent records of each tenant and makes them durable. Of
// each chain there is one under way: the next record is chained when the one before
// is durable, and until then the very same record is repeated. So a crash leaves no
// hole. With two under way it could leave the second without the first, which looks
// like a record somebody removed.
type recorder struct {
	chainID    string
	partitions int
	producer   Producer
	timeout    time.Duration // of one attempt

	ctx     context.Context // ends with stop; workers outlive the requests that wake them
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	tenants map[string][]*tenantChain
}

// tenantChain is one of a tenant's chains and those who wait for it.
type tenantChain struct {
	chain   *consent.Chain // the worker's own
	queue   []*consentLink
	working bool
}

// consentLink is a record on its way.
type consentLink struct {
	rec *metivav1.ConsentRecord
	ctx context.Context // of the request that waits
	// err is valid when done is closed; nil says that the record is durable.
	err  error
	done chan struct{}
}

func newRecorder(chainID string, cfg Config, producer Producer) *recorder {
	ctx, cancel := context.WithCancel(context.Background())
	return &recorder{
		chainID: chainID, partitions: cfg.ConsentPartitions, producer: producer, timeout: cfg.AckTimeout,
		ctx: ctx, cancel: cancel, tenants: map[string][]*tenantChain{},
	}
}

// publishConsent completes a consent record (record id unless it has one, schema
// version, lawful basis, chain) and returns once it is durable. The record belongs
// to the recorder from then on. When ctx ends first, the record may still become
// part of the chain: the repetition of the choice, with the same evidence event id,
// is the same choice.
func (c *Collector) publishConsent(ctx context.Context, rec *metivav1.ConsentRecord) error {
	if len(rec.GetRecordId()) == 0 {
		rec.RecordId = make([]byte, schemas.IDBytes)
		_, _ = rand.Read(rec.RecordId) // crypto/rand never returns an error
	}
	if rec.GetLawfulBasis() == "" {
		rec.LawfulBasis = consent.LawfulBasisConsent
	}
	if err := c.recorder.publish(ctx, rec); err != nil {
		return fmt.Errorf("publishing a consent record: %w", err)
	}
	return nil
}

func (r *recorder) publish(ctx context.Context, rec *metivav1.ConsentRecord) error {
	link := &consentLink{rec: rec, ctx: ctx, done: make(chan struct{})}
	if err := r.enqueue(link); err != nil {
		return err
	}
	select {
	case <-link.done:
		return link.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *recorder) enqueue(link *consentLink) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return errConsentStopped
	}
	t := r.shortest(link.rec.GetCompanyId())
	if len(t.queue) >= consentQueueMax {
		return errConsentQueueFull
	}
	t.queue = append(t.queue, link)
	if !t.working {
		t.working = true
		r.workers.Go(func() { r.work(t) })
	}
	return nil
}

// shortest is the tenant's chain with the fewest records waiting: a new one where
// all are busy. The first chain has the writer's id, the others a number behind it.
func (r *recorder) shortest(company string) *tenantChain {
	chains := r.tenants[company]
	var t *tenantChain
	for _, c := range chains {
		if t == nil || len(c.queue) < len(t.queue) {
			t = c
		}
	}
	if t != nil && (len(t.queue) < consentChainBusy || len(chains) >= consentChainsMax) {
		return t
	}
	id := r.chainID
	if len(chains) > 0 {
		id += "." + strconv.Itoa(len(chains)+1)
	}
	t = &tenantChain{chain: consent.NewChain(company, id)}
	r.tenants[company] = append(chains, t)
	return t
}

// work makes the queued records of one chain durable until none is left.
func (r *recorder) work(t *tenantChain) {
	for {
		r.mu.Lock()
		if len(t.queue) == 0 {
			t.working, t.queue = false, nil
			r.mu.Unlock()
			return
		}
		link := t.queue[0]
		t.queue[0] = nil
		t.queue = t.queue[1:]
		r.mu.Unlock()
		link.err = r.add(t.chain, link)
		close(link.done)
	}
}

// add chains one record and makes it durable. One nobody waits for any more is
// left out while it has no place yet; one with a place is repeated until it is
// durable or the collector stops.
func (r *recorder) add(chain *consent.Chain, link *consentLink) error {
	if err := errors.Join(link.ctx.Err(), r.ctx.Err()); err != nil {
		return err
	}
	value, err := place(chain, link.rec)
	if err != nil {
		return err
	}
	company := link.rec.GetCompanyId()
	key, partition := consent.RecordKey(company, link.rec.GetSubjectId()), schemas.ConsentPartition(company, r.partitions)
	pause := time.NewTimer(0)
	defer pause.Stop()
	for wait := consentRetryMin; ; wait = min(2*wait, consentRetryMax) {
		if err := r.send(partition, key, value); err == nil {
			return nil
		}
		pause.Reset(wait)
		select {
		case <-pause.C:
		case <-r.ctx.Done():
			return errConsentStopped
		}
	}
}

// place chains and encodes a record. One that cannot be written takes no place.
func place(chain *consent.Chain, rec *metivav1.ConsentRecord) ([]byte, error) {
	before := *chain
	if err := chain.Append(rec); err != nil {
		return nil, err
	}
	value, err := schemas.Encode(nil, rec)
	switch {
	case err != nil: // a text that is not UTF-8; the error would quote it
		err = errConsentUnwritable
	case len(value) > schemas.RecordBytesMax:
		err = errRecordTooLarge
	}
	if err != nil {
		*chain = before
		return nil, err
	}
	return value, nil
}

func (r *recorder) send(partition int, key, value []byte) error {
	ctx, cancel := context.WithTimeout(r.ctx, r.timeout)
	defer cancel()
	return r.producer.ProduceSync(ctx, schemas.TopicConsentRecords, partition, key, value)
}

// stop gives up what is not durable, which no request was told it is, and waits
// for the workers.
func (r *recorder) stop() {
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
	r.cancel()
	r.workers.Wait()
}
