package collector

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// chosen is a consent record as a handler makes it.
func chosen(company string, n byte) *metivav1.ConsentRecord {
	return &metivav1.ConsentRecord{
		CompanyId: company, SiteId: testSite, SubjectId: bytes.Repeat([]byte{n}, schemas.IDBytes), Sequence: uint64(n),
		State: metivav1.ConsentState_CONSENT_STATE_ANALYTICS, Kind: metivav1.ConsentKind_CONSENT_KIND_GIVEN,
		EvidenceEventId: bytes.Repeat([]byte{n}, schemas.IDBytes),
	}
}

// consentRecords reads what was produced, in order.
func consentRecords(t testing.TB, log *memoryLog) []*metivav1.ConsentRecord {
	t.Helper()
	var out []*metivav1.ConsentRecord
	for _, r := range log.of(schemas.TopicConsentRecords) {
		rec, err := consent.ReadRecord(r.value)
		if err != nil {
			t.Fatal(err)
		}
		if want := consent.RecordKey(rec.GetCompanyId(), rec.GetSubjectId()); !bytes.Equal(r.key, want) {
			t.Errorf("key %q, want %q", r.key, want)
		}
		if want := schemas.ConsentPartition(rec.GetCompanyId(), DefaultConfig().ConsentPartitions); r.partition != want {
			t.Errorf("partition %d, want %d", r.partition, want)
		}
		out = append(out, rec)
	}
	return out
}

// TestRecordsAreChained: concurrent choices of two tenants make two chains without
// holes, and each is durable when its caller goes on.
func TestRecordsAreChained(t *testing.T) {
	t.Parallel()
	const companyB, each = "cmp_bbbbbbbbbbbbbbbbbbbb", 40
	e := newEdge(t, nil, nil)
	t.Cleanup(e.recorder.stop)
	var wg sync.WaitGroup
	for i := range each {
		for _, company := range []string{testCompany, companyB} {
			wg.Go(func() {
				if err := e.publishConsent(t.Context(), chosen(company, byte(i+1))); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	v := consent.NewVerifier()
	v.Complete = true
	for _, rec := range consentRecords(t, e.log) {
		v.Add(rec)
		if !strings.HasPrefix(rec.GetChainId(), e.WriterID()) || rec.GetLawfulBasis() != consent.LawfulBasisConsent {
			t.Errorf("chain %s of %q", rec.GetChainId(), rec.GetLawfulBasis())
		}
	}
	report := v.Report(time.Time{})
	if !report.OK || report.Records != 2*each || len(report.Chains) < 2 || len(report.Chains) > 2*consentChainsMax {
		t.Errorf("%+v", report)
	}
	// One after the other, a tenant has one chain.
	quiet := newEdge(t, nil, nil)
	t.Cleanup(quiet.recorder.stop)
	for i := range each {
		if err := quiet.publishConsent(t.Context(), chosen(testCompany, byte(i+1))); err != nil {
			t.Fatal(err)
		}
	}
	if rec := consentRecords(t, quiet.log)[each-1]; rec.GetChainPosition() != each || rec.GetChainId() != quiet.WriterID() {
		t.Errorf("the last record is %d of %s", rec.GetChainPosition(), rec.GetChainId())
	}
}

// TestUndurableRecordIsRepeated: nothing passes a record that is not durable, its
// bytes are repeated as they are, and one whose request is gone takes no place.
func TestUndurableRecordIsRepeated(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	away := true
	var seen [][]byte
	log := &memoryLog{refuse: func(topic string) error {
		mu.Lock()
		defer mu.Unlock()
		if topic == schemas.TopicConsentRecords && away {
			return errTest
		}
		return nil
	}}
	spy := &spyProducer{memoryLog: log, see: func(topic string, value []byte) {
		mu.Lock()
		defer mu.Unlock()
		if topic == schemas.TopicConsentRecords {
			seen = append(seen, bytes.Clone(value))
		}
	}}
	e := newEdge(t, spy, nil)
	t.Cleanup(e.recorder.stop)

	short, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 3)
	go func() { errs <- e.publishConsent(short, chosen(testCompany, 1)) }()
	attempts := func() int { mu.Lock(); defer mu.Unlock(); return len(seen) }
	waittest.Until(t, 10*time.Second, "three attempts", func() bool { return attempts() >= 3 })
	go func() { errs <- e.publishConsent(short, chosen(testCompany, 2)) }() // waits behind the first
	waittest.Until(t, 10*time.Second, "the record waits", func() bool {
		e.recorder.mu.Lock()
		defer e.recorder.mu.Unlock()
		return len(e.recorder.tenants[testCompany][0].queue) == 1
	})
	cancel()
	for range 2 {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("the request went on with %v", err)
		}
	}
	mu.Lock()
	away = false
	mu.Unlock()
	if err := e.publishConsent(t.Context(), chosen(testCompany, 3)); err != nil {
		t.Fatal(err)
	}
	records := consentRecords(t, log)
	if len(records) != 2 || records[0].GetSequence() != 1 || records[1].GetSequence() != 3 || records[1].GetChainPosition() != 2 {
		t.Fatalf("%d records, want the first and the third choice", len(records))
	}
	mu.Lock()
	defer mu.Unlock()
	for _, value := range seen[:len(seen)-1] {
		if !bytes.Equal(value, seen[0]) {
			t.Fatal("a repetition has other bytes")
		}
	}
}

// spyProducer sees what is tried.
type spyProducer struct {
	*memoryLog
	see func(topic string, value []byte)
}

func (s *spyProducer) ProduceSync(ctx context.Context, topic string, partition int, key, value []byte) error {
	s.see(topic, value)
	return s.memoryLog.ProduceSync(ctx, topic, partition, key, value)
}

// TestUnwritableRecordTakesNoPlace: an error of one choice must not look like a
// removed record.
func TestUnwritableRecordTakesNoPlace(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	t.Cleanup(e.recorder.stop)
	large, broken := chosen(testCompany, 1), chosen(testCompany, 2)
	large.RawSignal, broken.UiVariant = strings.Repeat("A", schemas.RecordBytesMax), "canary\xff"
	if err := e.publishConsent(t.Context(), large); !errors.Is(err, errRecordTooLarge) {
		t.Error(err)
	}
	if err := e.publishConsent(t.Context(), broken); !errors.Is(err, errConsentUnwritable) || strings.Contains(err.Error(), "canary") {
		t.Error(err)
	}
	if err := e.publishConsent(t.Context(), chosen(testCompany, 3)); err != nil {
		t.Fatal(err)
	}
	if records := consentRecords(t, e.log); len(records) != 1 || records[0].GetChainPosition() != 1 {
		t.Errorf("%d records", len(records))
	}
}

// TestConsentQueueIsBounded: with Kafka away, memory is not.
func TestConsentQueueIsBounded(t *testing.T) {
	t.Parallel()
	log := &memoryLog{refuse: func(string) error { return errTest }}
	e := newEdge(t, log, nil)
	ctx, cancel := context.WithCancel(t.Context())
	// One of each chain is under way and not in its queue.
	const most = consentChainsMax * (consentQueueMax + 1)
	errs := make(chan error, most)
	for i := range most {
		go func() {
			err := errConsentQueueFull // a queue may fill before its first record is under way
			for errors.Is(err, errConsentQueueFull) && ctx.Err() == nil {
				err = e.publishConsent(ctx, chosen(testCompany, byte(i)))
				runtime.Gosched()
			}
			errs <- err
		}()
	}
	waittest.Until(t, 10*time.Second, "the record waits", func() bool {
		e.recorder.mu.Lock()
		defer e.recorder.mu.Unlock()
		waiting := 0
		for _, chain := range e.recorder.tenants[testCompany] {
			waiting += len(chain.queue)
		}
		return waiting == consentChainsMax*consentQueueMax
	})
	if err := e.publishConsent(ctx, chosen(testCompany, 1)); !errors.Is(err, errConsentQueueFull) {
		t.Errorf("beyond the queue: %v", err)
	}
	cancel()
	e.recorder.stop()
	for range most {
		if <-errs == nil {
			t.Error("a choice counts as durable")
		}
	}
	if err := e.publishConsent(t.Context(), chosen(testCompany, 1)); !errors.Is(err, errConsentStopped) {
		t.Errorf("after the stop: %v", err)
	}
}
