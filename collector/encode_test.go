package collector

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// message is the generated type with what the record holds.
func (r *eventRecord) message() *metivav1.CollectedEvent {
	var made metivav1.CollectedEvent
	if err := proto.Unmarshal(append(bytes.Clone(r.owner), r.writer...), &made); err != nil {
		panic(err)
	}
	m := &metivav1.CollectedEvent{
		EventId: r.eventID, CompanyId: made.GetCompanyId(), BrandId: made.GetBrandId(), SiteId: made.GetSiteId(), Type: r.kind,
		ReceivedAtMs: r.receivedAtMs, OccurredAtMs: r.occurredAtMs, ClientAtMs: r.clientAtMs,
		Consent: r.consent, ConsentSeq: r.consentSeq, ConsentTextVersion: r.consentTextVersion,
		VisitKey: r.visitKey, VisitorId: r.visitorID,
		Host: string(r.host), Path: string(r.path), ReferrerHost: string(r.referrerHost),
		SealedAddress: r.sealedAddress, SealedUserAgent: r.sealedUserAgent, WriterId: made.GetWriterId(), RetentionDays: r.retentionDays,
	}
	if len(r.campaignSource)+len(r.campaignMedium)+len(r.campaignName) > 0 {
		m.Campaign = &metivav1.Campaign{Source: string(r.campaignSource), Medium: string(r.campaignMedium), Name: string(r.campaignName)}
	}
	return m
}

// randomRecord fills about two thirds of the fields.
func randomRecord(rnd *rand.Rand) *eventRecord {
	raw := func(bytesMax int) []byte {
		if rnd.IntN(3) == 0 {
			return nil
		}
		b := make([]byte, rnd.IntN(bytesMax+1))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
	text := func(runesMax int) []byte {
		var b []byte
		for range rnd.IntN(runesMax + 1) {
			b = utf8.AppendRune(b, []rune{'a', '/', 0, 0x7f, 0x80, 'é', 0x7ff, '€', 0xfffd, '😀'}[rnd.IntN(10)])
		}
		return b
	}
	number := func() uint64 {
		if rnd.IntN(3) == 0 {
			return 0
		}
		return rnd.Uint64() >> rnd.IntN(64)
	}
	return &eventRecord{
		eventID: raw(16), owner: ownerFields(string(text(40)), string(text(40)), string(text(200))),
		kind: metivav1.EventType(number()), receivedAtMs: int64(number()), occurredAtMs: int64(number()), clientAtMs: int64(number()),
		consent: metivav1.ConsentState(number()), consentSeq: number(), consentTextVersion: string(text(64)),
		visitKey: raw(16), visitorID: raw(16), host: text(200), path: text(5000), referrerHost: text(200),
		campaignSource: text(100), campaignMedium: text(100), campaignName: text(100),
		sealedAddress: raw(60), sealedUserAgent: raw(600), writer: appendField(nil, fieldWriterID, text(80)), retentionDays: uint32(number()),
	}
}

func TestRecordIsEncodedAsTheContractSays(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		r := randomRecord(rnd)
		want, err := schemas.Encode([]byte("before"), r.message())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.append([]byte("before")); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%v\n got %x (%v)\nwant %x", r.message(), got, err, want)
		}
	}
}

// TestRecordKnowsEveryField fails when the contract gains a field that the
// record does not have and that no event type's detail is.
func TestRecordKnowsEveryField(t *testing.T) {
	t.Parallel()
	full := &eventRecord{
		eventID: []byte{1}, owner: ownerFields("c", "b", "s"), kind: 1, receivedAtMs: 1, occurredAtMs: 1, clientAtMs: 1,
		consent: 1, consentSeq: 1, consentTextVersion: "v", visitKey: []byte{1}, visitorID: []byte{1}, host: []byte("h"), path: []byte("p"), referrerHost: []byte("r"),
		campaignSource: []byte("s"), campaignMedium: []byte("m"), campaignName: []byte("n"),
		sealedAddress: []byte{1}, sealedUserAgent: []byte{1}, writer: appendField(nil, fieldWriterID, "w"), retentionDays: 1,
	}
	encoded, err := full.append(nil)
	if err != nil {
		t.Fatal(err)
	}
	var m metivav1.CollectedEvent
	if err := proto.Unmarshal(encoded, &m); err != nil {
		t.Fatal(err)
	}
	fields := m.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		// The replay from the spool marks a record by appending to it; what is
		// automated stands behind the detail.
		if f.ContainingOneof() == nil && f.Name() != "replayed" && f.Name() != "automated" && !m.ProtoReflect().Has(f) {
			t.Errorf("the record has no %s", f.Name())
		}
	}
	campaign := m.GetCampaign().ProtoReflect().Descriptor().Fields()
	for i := range campaign.Len() {
		if !m.GetCampaign().ProtoReflect().Has(campaign.Get(i)) {
			t.Errorf("the record has no campaign %s", campaign.Get(i).Name())
		}
	}
}

func TestRecordRefusesWhatIsNoText(t *testing.T) {
	t.Parallel()
	const bad = "a\xff"
	for name, r := range map[string]*eventRecord{
		"text version": {consentTextVersion: bad},
		"host":         {host: []byte(bad)}, "path": {path: []byte("\xed\xa0\x80")}, "referrer": {referrerHost: []byte("\xc0\xaf")},
		"source": {campaignSource: []byte(bad)}, "medium": {campaignMedium: []byte(bad)}, "campaign": {campaignName: []byte("é"[:1])},
	} {
		if _, err := schemas.Encode(nil, r.message()); err == nil {
			t.Errorf("%s: the contract takes it", name)
		}
		if _, err := r.append(nil); err == nil {
			t.Errorf("%s: it was encoded", name)
		}
	}
}

func TestDetailIsEncodedBehindTheRecord(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	b := newBuilder()
	for i := range 200 {
		b.record = *randomRecord(rnd)
		want := b.record.message()
		want.Automated = i%2 == 0
		b.detail.Automated = want.Automated
		want.Detail = &metivav1.CollectedEvent_Custom{Custom: &metivav1.CustomEvent{Name: "n", Properties: map[string]string{"b": "2", "a": "1"}}}
		b.detail.Detail = want.Detail
		encoded, err := schemas.Encode(nil, want)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.encode(); err != nil || !bytes.Equal(b.value, encoded) {
			t.Fatalf("%v\n got %x (%v)\nwant %x", want, b.value, err, encoded)
		}
	}
}
