package enrich

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// expected is what must come of one collected record, by its event id.
type expected struct {
	name    string
	reason  metivav1.Reason // drop
	dead    bool
	verdict metivav1.Verdict // event
	bot     metivav1.BotClass
	consent metivav1.ConsentState
	visitor []byte
}

// TestPipeline sends one record of every kind through a worker: each leaves as
// exactly one record, with the right outcome, and nothing that was sealed is
// in clear anywhere.
func TestPipeline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	want := make(map[string]expected)
	total, dead := fillPipeline(w, want)
	out := w.outputs()
	worker := w.worker()
	w.goRun(worker.Run)
	records, letters, raw := out.take(total, dead)

	sources := make(map[string]bool)
	for _, r := range records {
		ref, id := checkRecord(t, want, r)
		if sources[ref] {
			t.Errorf("%s came twice", ref)
		}
		sources[ref] = true
		delete(want, id)
	}
	for _, e := range want {
		t.Errorf("%s: nothing came", e.name)
	}
	reasons := make(map[string]int)
	for _, letter := range letters {
		headers := make(map[string]string)
		for _, h := range letter.Headers {
			headers[h.Key] = string(h.Value)
		}
		reasons[headers[schemas.HeaderDeadReason]]++
		if headers[schemas.HeaderDeadStage] != "enrich" || headers[schemas.HeaderDeadTopic] != schemas.TopicEventsCollected ||
			headers[schemas.HeaderDeadPartition] == "" || headers[schemas.HeaderDeadOffset] == "" || headers[schemas.HeaderDeadTimeMs] == "" {
			t.Errorf("headers %v", headers)
		}
	}
	if reasons["invalid_record"] != 3 || reasons["tampered"] != 2 || reasons["unknown_key"] != 1 || len(reasons) != 3 {
		t.Errorf("dead letters %v", reasons)
	}
	for _, r := range raw {
		searchLeak(t, r.Topic+" value", r.Value)
		searchLeak(t, r.Topic+" key", r.Key)
		for _, h := range r.Headers {
			searchLeak(t, r.Topic+" header", h.Value)
		}
	}
	searchLeak(t, "log", w.log.bytes())
	families, err := w.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		searchLeak(t, "metrics", []byte(prototext.Format(f)))
	}
}

// fillPipeline writes the control and collected records of TestPipeline.
func fillPipeline(w *world, want map[string]expected) (total, dead int) {
	const (
		denied, withdrawn, granted = metivav1.ConsentState_CONSENT_STATE_DENIED, metivav1.ConsentState_CONSENT_STATE_WITHDRAWN, metivav1.ConsentState_CONSENT_STATE_ANALYTICS
		none                       = metivav1.BotClass_BOT_CLASS_NONE
		shown                      = metivav1.Verdict_VERDICT_COMPANY
	)
	add := func(e *metivav1.CollectedEvent, x expected) {
		w.put(e)
		total++
		if x.dead {
			dead++
		}
		want[string(e.GetEventId())] = x
	}
	gone, back, erased := random(16), random(16), random(16)
	w.withdraw(gone, 3)
	w.withdraw(back, 3)
	w.erase(tenant, erased)
	w.erase("cmp_erased", nil)

	add(w.event(ingAddr, agent, nil), expected{name: "ing", verdict: shown, bot: none, consent: denied})
	add(w.event("::ffff:"+ingAddr, agent, nil), expected{name: "ing mapped", verdict: shown, bot: none, consent: denied})
	add(w.event(kpnAddr, agent, nil), expected{name: "kpn", verdict: metivav1.Verdict_VERDICT_ISP, bot: none, consent: denied})
	add(w.event(six, agent, nil), expected{name: "surf", verdict: metivav1.Verdict_VERDICT_EDUCATION_NETWORK, bot: none, consent: denied})
	add(w.event("10.1.2.3", agent, nil), expected{name: "private", verdict: metivav1.Verdict_VERDICT_RESERVED, bot: none, consent: denied})
	add(w.event("9.9.9.9", agent, nil), expected{name: "no route", verdict: metivav1.Verdict_VERDICT_NOT_FOUND, bot: none, consent: denied})
	add(w.event(ingAddr, botAgent, nil), expected{name: "bot", verdict: metivav1.Verdict_VERDICT_BOT, bot: metivav1.BotClass_BOT_CLASS_CRAWLER, consent: denied})
	add(w.event(ingAddr, "", nil), expected{name: "no agent", verdict: metivav1.Verdict_VERDICT_BOT, bot: metivav1.BotClass_BOT_CLASS_NO_AGENT, consent: denied})
	add(w.event(ingAddr, agent, analytics(random(16), 1)), expected{name: "analytics", verdict: shown, bot: none, consent: granted, visitor: []byte{1}})
	add(w.event(ingAddr, agent, analytics(gone, 3)), expected{name: "withdrawn, tie", verdict: shown, bot: none, consent: withdrawn})
	add(w.event(ingAddr, agent, analytics(back, 4)), expected{name: "granted again", verdict: shown, bot: none, consent: granted, visitor: []byte{1}})
	add(w.event(ingAddr, agent, analytics(erased, 9)), expected{name: "erased visitor", reason: metivav1.Reason_REASON_ERASED})
	add(w.event(ingAddr, agent, func(e *metivav1.CollectedEvent) { e.CompanyId = "cmp_erased" }), expected{name: "erased tenant", reason: metivav1.Reason_REASON_ERASED})

	moved := w.event(ingAddr, agent, nil)
	moved.EventId = random(16)
	add(moved, expected{name: "sealed for another event", reason: metivav1.Reason_REASON_TAMPERED, dead: true})
	flipped := w.event(ingAddr, agent, nil)
	flipped.SealedAddress[len(flipped.SealedAddress)-1] ^= 1
	add(flipped, expected{name: "flipped bit", reason: metivav1.Reason_REASON_TAMPERED, dead: true})

	w.publish = func(context.Context, *metivav1.DataKey) error { return nil }
	add(w.event(ingAddr, agent, func(e *metivav1.CollectedEvent) { e.CompanyId = "cmp_unknown" }), expected{name: "unknown key", reason: metivav1.Reason_REASON_UNKNOWN_KEY, dead: true})
	w.publish = func(ctx context.Context, rec *metivav1.DataKey) error {
		if err := w.putKey(ctx, rec); err != nil {
			return err
		}
		w.send(schemas.TopicControlKeys, 0, seal.DataKeyRecordKey(rec.GetKeyId()), nil)
		return nil
	}
	add(w.event(ingAddr, agent, func(e *metivav1.CollectedEvent) { e.CompanyId = "cmp_shredded" }), expected{name: "shredded", reason: metivav1.Reason_REASON_SHREDDED})
	w.publish = w.putKey

	visitorWithout := w.event(ingAddr, agent, nil)
	visitorWithout.VisitorId = random(16)
	add(visitorWithout, expected{name: "visitor without consent", reason: metivav1.Reason_REASON_INVALID_RECORD, dead: true})
	query := w.event(ingAddr, agent, nil)
	query.Path = "/?email=someone"
	add(query, expected{name: "query string", reason: metivav1.Reason_REASON_INVALID_RECORD, dead: true})
	w.send(schemas.TopicEventsCollected, 7, []byte("key"), []byte("not a message"))
	total, dead = total+1, dead+1
	want[string(sourceEventID(&metivav1.SourceRef{Partition: 7}))] = expected{name: "undecodable", reason: metivav1.Reason_REASON_INVALID_RECORD, dead: true}
	return total, dead
}

func (w *world) withdraw(visitor []byte, sequence uint64) {
	value, err := proto.Marshal(&metivav1.Withdrawal{CompanyId: tenant, SiteId: "sit_a", SubjectId: visitor, Sequence: sequence, WithdrawnAtMs: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	w.send(schemas.TopicControlWithdrawals, 0, fmt.Appendf(nil, "%s/%x", tenant, visitor), value)
}

func (w *world) erase(companyID string, visitor []byte) {
	value, err := proto.Marshal(&metivav1.Erasure{CompanyId: companyID, SubjectId: visitor, ErasedAtMs: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	key := companyID
	if len(visitor) > 0 {
		key = fmt.Sprintf("%s/%x", companyID, visitor)
	}
	w.send(schemas.TopicControlErasures, 0, []byte(key), value)
}

// checkRecord compares one enriched record with what was expected of it.
func checkRecord(t *testing.T, want map[string]expected, r *metivav1.EnrichedRecord) (source, id string) {
	t.Helper()
	if d := r.GetDrop(); d != nil {
		x, ok := want[string(d.GetEventId())]
		if !ok || d.GetReason() != x.reason || d.GetStage() != metivav1.Stage_STAGE_ENRICH || d.GetSource() == nil {
			t.Errorf("%q: got drop %v", x.name, d)
		}
		return d.GetSource().String(), string(d.GetEventId())
	}
	e := r.GetEvent()
	x, ok := want[string(e.GetEventId())]
	if !ok || x.reason != 0 || e.GetResolution().GetVerdict() != x.verdict || e.GetBot() != x.bot || e.GetConsent() != x.consent ||
		(len(x.visitor) > 0) != (len(e.GetVisitorId()) == 16) || e.GetSource() == nil || e.GetEnrichedAtMs() == 0 {
		t.Errorf("%q: got event %v", x.name, e)
	}
	shown := x.verdict == metivav1.Verdict_VERDICT_COMPANY
	if got := e.GetResolution(); shown && (got.GetAccountId() != "ing.nl" || got.GetName() != "ING" || got.GetDatabaseBuildMs() == 0) || !shown && got.GetName() != "" {
		t.Errorf("%q: resolution %v", x.name, got)
	}
	browser, system := "", "" // without consent, the class alone
	if len(x.visitor) > 0 {
		browser, system = "chrome", "windows"
	}
	if x.bot == metivav1.BotClass_BOT_CLASS_NONE && (e.GetBrowserFamily() != browser || e.GetSystemFamily() != system || e.GetDevice() != metivav1.DeviceClass_DEVICE_CLASS_DESKTOP) {
		t.Errorf("%q: device %v %s %s", x.name, e.GetDevice(), e.GetBrowserFamily(), e.GetSystemFamily())
	}
	if e.GetPath() != "/prijzen" || e.GetCampaign().GetSource() != "nieuwsbrief" || e.GetRetentionDays() != 30 || e.GetWriterId() != "collector-1" {
		t.Errorf("%q: fields were lost: %v", x.name, e)
	}
	return e.GetSource().String(), string(e.GetEventId())
}

// searchLeak looks for the addresses and agents of the tests, as text and as
// bytes, whole and truncated.
func searchLeak(t *testing.T, where string, data []byte) {
	t.Helper()
	needles := map[string][]byte{"agent": []byte("CanaryAgent"), "agent's token": []byte("AppleWebKit")}
	for _, text := range []string{ingAddr, kpnAddr, six, "145.221.10.0", "77.161.10.0", "2001:67c:6ec::"} {
		addr := netip.MustParseAddr(text)
		raw16 := addr.As16()
		needles["text "+text] = []byte(text)
		needles["16 bytes of "+text] = raw16[:]
		if addr.Is4() {
			raw4 := addr.As4()
			needles["4 bytes of "+text] = raw4[:]
		}
	}
	for name, needle := range needles {
		if bytes.Contains(data, needle) {
			t.Errorf("%s holds %s", where, name)
		}
	}
}

// brokenClaim ends the first batch between produce and commit.
type brokenClaim struct {
	*kafka.Claim
	broken *atomic.Int32
}

var errCrash = errors.New("crash")

func (c brokenClaim) Commit(ctx context.Context, b kafka.Batch) error {
	if c.broken.Add(-1) >= 0 {
		return errCrash
	}
	return c.Claim.Commit(ctx, b)
}

// TestCrashBeforeCommit: what was produced and not committed is produced
// again, with the same sources and outcomes, and in the same order.
func TestCrashBeforeCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const events = 50
	for i := range events {
		w.put(w.event(ingAddr, agent, func(e *metivav1.CollectedEvent) { e.Path = fmt.Sprintf("/%d", i) }))
	}
	out := w.outputs()
	worker := w.worker()
	var broken atomic.Int32
	broken.Store(1)
	consumer, err := w.client.NewConsumer(kafka.ConsumerConfig{Group: "crash", Topics: []string{schemas.TopicEventsCollected}, ReuseMemory: true, HandlerBackoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	worker.enrichedPartitions = schemas.TenantBuckets
	w.goRun(worker.sender.Run)
	w.goRun(worker.keyTable.Run)
	<-worker.keyTable.Ready()
	var planned atomic.Int64
	w.goRun(func(ctx context.Context) error {
		return consumer.Run(ctx, func(ctx context.Context, c *kafka.Claim) error {
			err := worker.serve(ctx, brokenClaim{Claim: c, broken: &broken})
			if errors.Is(err, errCrash) {
				planned.Add(1)
			}
			return err
		})
	})
	first, _, _ := out.take(events, 0)
	// The crashed batch comes again; it may be smaller than all events.
	again, _, _ := out.take(1, 0)
	seen := make(map[int64]string)
	last := int64(-1)
	for _, r := range append(first, again...) {
		e := r.GetEvent()
		offset := e.GetSource().GetOffset()
		if path, ok := seen[offset]; ok && path != e.GetPath() {
			t.Errorf("offset %d is %s and %s", offset, path, e.GetPath())
		} else if !ok && offset != last+1 {
			t.Errorf("offset %d after %d", offset, last)
		} else if !ok {
			last = offset
		}
		seen[offset] = e.GetPath()
	}
	if len(seen) != events || planned.Load() != 1 {
		t.Errorf("%d sources, %d crashes", len(seen), planned.Load())
	}
}

// lateKeys is a keys table that learns a key while it is waited for.
type lateKeys struct {
	arrive func() error
	waited atomic.Int32
}

func (k *lateKeys) CatchUp(context.Context) error {
	k.waited.Add(1)
	return k.arrive()
}

// ready returns a worker whose partitions are driven by the test.
func (w *world) ready(keys table) (*Worker, *partition, geo.View) {
	w.t.Helper()
	worker := w.worker()
	worker.enrichedPartitions = schemas.TenantBuckets
	worker.keys = keys
	w.goRun(worker.sender.Run)
	view, err := w.deps.Databases.View()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(view.Release)
	return worker, &partition{w: worker, scratch: newScratch()}, view
}

func (w *world) batch(events ...*metivav1.CollectedEvent) kafka.Batch {
	b := kafka.Batch{Topic: schemas.TopicEventsCollected, Last: int64(len(events) - 1)}
	for i, e := range events {
		value, err := schemas.Encode(nil, e)
		if err != nil {
			w.t.Fatal(err)
		}
		b.Records = append(b.Records, kafka.Record{Topic: b.Topic, Offset: int64(i), Key: e.GetVisitKey(), Value: value})
	}
	return b
}

// TestKeyArrivesLate: an unknown key is waited for once per batch, and the
// events it sealed are not lost.
func TestKeyArrivesLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var kept []*metivav1.DataKey
	w.publish = func(_ context.Context, rec *metivav1.DataKey) error {
		kept = append(kept, rec)
		return nil
	}
	events := []*metivav1.CollectedEvent{w.event(ingAddr, agent, nil), w.event(kpnAddr, agent, nil)}
	keys := &lateKeys{arrive: func() error {
		return w.opener.ApplyKey(seal.DataKeyRecordKey(kept[0].GetKeyId()), keyRecord(kept[0]))
	}}
	_, p, _ := w.ready(keys)
	if err := p.process(t.Context(), w.batch(events...)); err != nil {
		t.Fatal(err)
	}
	records, _, _ := w.outputs().take(2, 0)
	for _, r := range records {
		if r.GetEvent() == nil {
			t.Errorf("dropped: %v", r.GetDrop())
		}
	}
	if n := keys.waited.Load(); n != 1 {
		t.Errorf("waited %d times", n)
	}
}

// TestKeysTableStalls: while control.keys cannot be read to its end, nothing
// is decided about a missing key.
func TestKeysTableStalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish = func(context.Context, *metivav1.DataKey) error { return nil }
	e := w.event(ingAddr, agent, nil)
	_, p, _ := w.ready(&lateKeys{arrive: func() error { return context.DeadlineExceeded }})
	if err := p.process(t.Context(), w.batch(e)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if p.counts != (counts{}) {
		t.Errorf("something was produced: %+v", p.counts)
	}
}

// panickyOpener panics with the address on one site, and sees whether the address before
// is still there.
type panickyOpener struct {
	*seal.Opener
	kept *seal.Truncated
	left *int
}

func (o panickyOpener) OpenAddressIn(in *seal.Opening, b seal.Binding, blob []byte) (seal.Truncated, error) {
	if o.kept.IsValid() {
		*o.left++
	}
	opened, err := o.Opener.OpenAddressIn(in, b, blob)
	*o.kept = opened
	if b.SiteID == "sit_panic" {
		panic(opened.Prefix().String())
	}
	return opened, err
}

// TestPanicIsOneDeadLetter: an event that makes a step panic ends alone, and
// what it held is not in the log.
func TestPanicIsOneDeadLetter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.event(ingAddr, agent, nil)
	poison := w.event(ingAddr, agent, func(e *metivav1.CollectedEvent) { e.SiteId = "sit_panic" })
	after := w.event(ingAddr, agent, nil)
	worker, p, _ := w.ready(nil)
	opener := panickyOpener{Opener: w.opener, kept: new(seal.Truncated), left: new(int)}
	worker.steps.opener = opener
	w.goRun(worker.keyTable.Run)
	<-worker.keyTable.Ready()
	if err := p.process(t.Context(), w.batch(before, poison, after)); err != nil {
		t.Fatal(err)
	}
	records, letters, _ := w.outputs().take(3, 1)
	for _, r := range records {
		if d := r.GetDrop(); d != nil && (d.GetReason() != metivav1.Reason_REASON_INTERNAL || !bytes.Equal(d.GetEventId(), poison.GetEventId())) {
			t.Errorf("drop %v", d)
		}
	}
	if got := records[1].GetDrop(); got == nil {
		t.Errorf("the order changed: %v", records)
	}
	if len(letters) != 1 {
		t.Errorf("%d dead letters", len(letters))
	}
	searchLeak(t, "log", w.log.bytes())
	if !strings.Contains(string(w.log.bytes()), "OpenAddress") {
		t.Error("the log does not say where the panic was")
	}
	for _, b := range p.scratch.agent[:cap(p.scratch.agent)] {
		if b != 0 {
			t.Fatal("the agent is still in memory")
		}
	}
	if *opener.left != 0 || opener.kept.IsValid() {
		t.Error("an opened address is still in memory")
	}
}

// TestStop: a worker that is told to stop returns, and another goes on from
// its commit without repeating anything.
func TestStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 10 {
		w.put(w.event(ingAddr, agent, nil))
	}
	out := w.outputs()
	run := func(worker *Worker) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- worker.Run(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	stop := run(w.worker())
	out.take(10, 0)
	stop()
	for range 5 {
		w.put(w.event(kpnAddr, agent, nil))
	}
	// A second worker, with metrics of its own as in a second process.
	w.deps.Registerer = newRegistry()
	stop = run(w.worker())
	defer stop()
	second, _, _ := out.take(5, 0)
	for _, r := range second {
		if r.GetEvent().GetResolution().GetAsn() != 1136 {
			t.Errorf("repeated: %v", r.GetEvent().GetSource())
		}
	}
}

// TestCommitWaitsForAcknowledgement: a batch whose records nobody has
// acknowledged does not end.
func TestCommitWaitsForAcknowledgement(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker() // its producer does not run: nothing is ever sent
	worker.enrichedPartitions = schemas.TenantBuckets
	p := &partition{w: worker, scratch: newScratch()}
	batch := w.batch(w.event(ingAddr, agent, nil))
	w.goRun(worker.keyTable.Run)
	<-worker.keyTable.Ready()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := p.process(ctx, batch); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
