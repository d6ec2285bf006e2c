package enrich

import (
	"bytes"
	"context"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestOversizedRecordsDoNotBlock: a value or a key as large as a broker takes
// ends in a drop and a dead letter like any other record that cannot be read.
func TestOversizedRecordsDoNotBlock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sender, err := w.client.NewProducer(kafka.ProducerConfig{BatchBytesMax: 1_000_000})
	if err != nil {
		t.Fatal(err)
	}
	w.goRun(sender.Run)
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	large := bytes.Repeat([]byte("x"), 700_000)
	if err := sender.ProduceSync(ctx, schemas.TopicEventsCollected, 0, []byte("k"), large); err != nil {
		t.Fatal(err)
	}
	if err := sender.ProduceSync(ctx, schemas.TopicEventsCollected, 1, large, []byte("x")); err != nil {
		t.Fatal(err)
	}
	out := w.outputs()
	w.goRun(w.worker().Run)
	records, letters, _ := out.take(2, 2)
	for _, r := range records {
		if r.GetDrop().GetReason() != metivav1.Reason_REASON_INVALID_RECORD {
			t.Errorf("got %v", r)
		}
	}
	for _, letter := range letters {
		if len(letter.Key)+len(letter.Value) > 2 || len(letter.Headers) == 0 {
			t.Errorf("dead letter of %d and %d bytes with %d headers", len(letter.Key), len(letter.Value), len(letter.Headers))
		}
	}
}

// TestWithdrawnEventIsUnlinked: the visit key of a consented event is made
// from the visitor id; nothing of it goes on with the event of a visitor who
// has withdrawn, and the event still goes to the partition it always would.
func TestWithdrawnEventIsUnlinked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	visitor := random(16)
	w.withdraw(visitor, 3)
	e := w.event(ingAddr, agent, analytics(visitor, 2))
	w.put(e)
	out := w.outputs()
	w.goRun(w.worker().Run)
	records, _, raw := out.take(1, 0)
	got := records[0].GetEvent()
	if got.GetConsent() != metivav1.ConsentState_CONSENT_STATE_WITHDRAWN || got.GetConsentSeq() != 0 || len(got.GetVisitKey()) != schemas.IDBytes {
		t.Errorf("got %v", got)
	}
	for name, linked := range map[string][]byte{"visitor id": visitor, "visit key": e.GetVisitKey()} {
		if bytes.Contains(raw[0].Value, linked) || bytes.Contains(raw[0].Key, linked) {
			t.Errorf("the %s goes on", name)
		}
	}
	if want := schemas.EventPartition(tenant, e.GetVisitKey(), schemas.TenantBuckets); raw[0].Partition != want {
		t.Errorf("partition %d, want %d", raw[0].Partition, want)
	}
}

// TestUnwritableEventIsADeadLetter: a text that protobuf has no room for ends its
// event alone; it would be the same at every try.
func TestUnwritableEventIsADeadLetter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, p, _ := w.ready(nil)
	e := w.event(ingAddr, agent, nil)
	if !decode(&p.scratch.collected, w.batch(e).Records[0].Value) {
		t.Fatal("the event is not valid")
	}
	source := p.scratch.sourceOf(3, 4)
	out := p.scratch.leaving.take(&p.scratch.collected.Event, source)
	out.Resolution.Name = "Caf\xe9 B.V."
	got, err := p.encode(outcome{record: p.scratch.leaving.wrapped()}, source)
	if err != nil || !got.dead || got.reason != metivav1.Reason_REASON_INTERNAL || !bytes.Equal(got.record.GetDrop().GetEventId(), e.GetEventId()) {
		t.Errorf("got %v, %v", got.reason, err)
	}
	back := new(metivav1.EnrichedRecord)
	if err := proto.Unmarshal(p.encoded, back); err != nil || back.GetDrop().GetSource().GetOffset() != 4 {
		t.Errorf("wrote %v, %v", back, err)
	}
}
