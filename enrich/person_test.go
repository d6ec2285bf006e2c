package enrich

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const otherTenant = "cmp_zyxwvutsrqponmlkjhgf"

// post is a form that somebody filled in.
type post struct {
	tenant, brand, site, text string
	visitor                   []byte // nil: a receipt names the subject
	subject                   []byte
	sequence                  uint64
	address                   string
	values                    map[string]string
}

// newPost is a contact form of a visitor with a grant, from ING's network.
func newPost() post {
	visitor := random(16)
	return post{
		tenant: tenant, brand: "brd_a", site: "sit_a", text: "linking", visitor: visitor, subject: visitor, sequence: 5, address: ingAddr,
		values: map[string]string{"email": " Canary.Jan@ING.nl", "name": "Canary  de Vries", "phone": "06-98765432", "message": "CanaryMessage\r\nbel mij"},
	}
}

// wantOpened is what newPost's values become.
func wantOpened() map[string]string {
	return map[string]string{"email": "Canary.Jan@ing.nl", "name": "Canary de Vries", "phone": "+31698765432", "message": "CanaryMessage\nbel mij"}
}

// sealForm seals a form's values under a fresh key of the event's subject.
func (w *world) sealForm(e *metivav1.CollectedEvent, values map[string]string) {
	w.t.Helper()
	c := e.GetFormCapture()
	b := seal.Binding{CompanyID: e.GetCompanyId(), SiteID: e.GetSiteId(), EventID: [16]byte(e.GetEventId()), SubjectID: [16]byte(c.GetSubjectId())}
	key, err := w.sealer.NewSubjectKey(w.t.Context(), b.CompanyID, b.SubjectID)
	if err != nil {
		w.t.Fatal(err)
	}
	c.SealedFields = make(map[string][]byte)
	for name, value := range values {
		b.Field = seal.FormField(name)
		if c.SealedFields[name], err = key.SealField(nil, b, []byte(value)); err != nil {
			w.t.Fatal(err)
		}
	}
}

// post makes the event of a form as the collector does.
func (w *world) post(p post) *metivav1.CollectedEvent {
	w.t.Helper()
	e := w.event(p.address, agent, func(e *metivav1.CollectedEvent) {
		e.CompanyId, e.BrandId, e.SiteId, e.VisitorId, e.ConsentSeq = p.tenant, p.brand, p.site, p.visitor, p.sequence
		e.Type, e.Consent, e.ConsentTextVersion = metivav1.EventType_EVENT_TYPE_FORM, identified, p.text
		e.Detail = &metivav1.CollectedEvent_FormCapture{FormCapture: &metivav1.FormCapture{FormId: "contact", SubjectId: p.subject, ConsentRecordId: random(16)}}
	})
	w.sealForm(e, p.values)
	return e
}

// register publishes a site with the form, or without.
func (w *world) register(tenantID, site string, version uint64, withForm bool) {
	w.t.Helper()
	rec := &metivav1.SiteRecord{
		CompanyId: tenantID, SiteId: site, Version: version, AllowedOrigins: []string{"https://www.example.nl"},
		Texts: []*metivav1.ConsentText{{Version: "linking", Language: "nl", LinksVisits: true}, {Version: "silent", Language: "nl"}},
	}
	if withForm {
		rec.Forms = []*metivav1.FormPolicy{{
			FormId: "contact", TextVersions: []string{"linking", "silent"},
			Fields: []*metivav1.FormField{
				{Name: "email", Kind: metivav1.FieldKind_FIELD_KIND_EMAIL},
				{Name: "name", Kind: metivav1.FieldKind_FIELD_KIND_NAME},
				{Name: "phone", Kind: metivav1.FieldKind_FIELD_KIND_PHONE},
				{Name: "message", Kind: metivav1.FieldKind_FIELD_KIND_TEXT},
			},
		}}
	}
	value, err := schemas.Encode(nil, rec)
	if err != nil {
		w.t.Fatal(err)
	}
	w.send(schemas.TopicControlSites, 0, []byte(site), value)
}

// all reads every record of a topic that is in it now.
func (w *world) all(topic string) []kafka.Record {
	w.t.Helper()
	var out []kafka.Record
	table := w.client.NewTable(topic, func(key, value []byte) error {
		out = append(out, kafka.Record{Topic: topic, Key: bytes.Clone(key), Value: bytes.Clone(value)})
		return nil
	})
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- table.Run(ctx) }()
	<-table.Ready()
	cancel()
	if err := <-done; err != nil {
		w.t.Fatal(err)
	}
	return out
}

// captures are those on captures.enriched now, by event id and source.
func (w *world) captures() []*metivav1.Capture {
	w.t.Helper()
	var out []*metivav1.Capture
	for _, r := range w.all(schemas.TopicCapturesEnriched) {
		c := new(metivav1.Capture)
		if err := proto.Unmarshal(r.Value, c); err != nil {
			w.t.Fatal(err)
		}
		if want := fmt.Sprintf("%s/%x", c.GetCompanyId(), c.GetSubjectId()); string(r.Key) != want {
			w.t.Errorf("key %q, want %q", r.Key, want)
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b *metivav1.Capture) int {
		return cmp.Or(bytes.Compare(a.GetEventId(), b.GetEventId()), cmp.Compare(a.GetSource().GetOffset(), b.GetSource().GetOffset()))
	})
	return out
}

// open opens a capture's values, as core will.
func (w *world) open(c *metivav1.Capture) map[string]string {
	w.t.Helper()
	out := make(map[string]string)
	for name, sealed := range c.GetSealedFields() {
		value, err := w.opener.OpenField(nil, seal.Binding{
			CompanyID: c.GetCompanyId(), SiteID: c.GetSiteId(), EventID: [16]byte(c.GetEventId()), SubjectID: [16]byte(c.GetSubjectId()), Field: seal.PersonField(name),
		}, sealed)
		if err != nil {
			w.t.Fatalf("opening %s: %v", name, err)
		}
		out[name] = string(value)
	}
	return out
}

// enrichment is a worker whose batches a test gives it: each returns once its outputs
// are acknowledged.
type enrichment struct {
	w *world
	p *partition
}

func (w *world) enrichment() *enrichment {
	w.t.Helper()
	w.deps.Registerer = newRegistry()
	worker, p, _ := w.ready(nil)
	for _, t := range worker.tables() {
		w.goRun(t.Run)
		<-t.Ready()
	}
	worker.keys = worker.keyTable
	return &enrichment{w: w, p: p}
}

// take works on the events as one batch, with all control records known.
func (x *enrichment) take(events ...*metivav1.CollectedEvent) {
	x.w.t.Helper()
	for _, t := range x.p.w.tables() {
		if err := t.CatchUp(x.w.t.Context()); err != nil {
			x.w.t.Fatal(err)
		}
	}
	if err := x.p.process(x.w.t.Context(), x.w.batch(events...)); err != nil {
		x.w.t.Fatal(err)
	}
}

// outcomes are the events and drops on events.enriched now, by event id.
func (w *world) outcomes() map[string]*metivav1.EnrichedRecord {
	w.t.Helper()
	out := make(map[string]*metivav1.EnrichedRecord)
	for _, r := range w.all(schemas.TopicEventsEnriched) {
		record := new(metivav1.EnrichedRecord)
		if err := proto.Unmarshal(r.Value, record); err != nil {
			w.t.Fatal(err)
		}
		out[cmp.Or(string(record.GetEvent().GetEventId()), string(record.GetDrop().GetEventId()))] = record
	}
	return out
}

// TestACaptureLeaves: whole, through a running worker, with nothing in clear on any
// topic, in the log or in a metric; and the event's company is confirmed.
func TestACaptureLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(tenant, "sit_a", 1, true)
	p := newPost()
	e := w.post(p)
	tampered := w.post(newPost())
	field := tampered.GetFormCapture().GetSealedFields()["name"]
	field[len(field)-1] ^= 1
	w.put(e)
	w.put(tampered)
	out := w.outputs()
	worker := w.worker()
	w.goRun(worker.Run)
	records, _, _ := out.take(2, 1)
	captures := w.captures()
	waittest.Until(t, waitMax, "the capture", func() bool { // it may be behind its event
		captures = w.captures()
		return len(captures) > 0
	})
	if len(captures) != 1 {
		t.Fatalf("%d captures", len(captures))
	}
	c := captures[0]
	if got := w.open(c); !maps.Equal(got, wantOpened()) {
		t.Errorf("opened %q", got)
	}
	if !bytes.Equal(c.GetEventId(), e.GetEventId()) || c.GetCompanyId() != tenant || c.GetBrandId() != "brd_a" || c.GetSiteId() != "sit_a" ||
		!bytes.Equal(c.GetVisitorId(), p.visitor) || !bytes.Equal(c.GetSubjectId(), p.subject) || c.GetConsentSeq() != 5 || c.GetTextVersion() != "linking" ||
		!bytes.Equal(c.GetConsentRecordId(), e.GetFormCapture().GetConsentRecordId()) || c.GetFormId() != "contact" || c.GetSource() == nil || len(c.GetAcceptanceId()) != 16 ||
		c.GetReceivedAtMs() != e.GetReceivedAtMs() || c.GetEnrichedAtMs() == 0 || c.GetRetentionDays() != 30 || c.GetBot() != metivav1.BotClass_BOT_CLASS_NONE ||
		c.GetMailDomain() != metivav1.MailDomain_MAIL_DOMAIN_CONFIRMED || c.GetAccountId() != "ing.nl" || c.GetLinkedVisitor().GetFromConsentSeq() != 5 {
		t.Errorf("capture %v", c)
	}
	for _, r := range records {
		switch {
		case bytes.Equal(r.GetDrop().GetEventId(), tampered.GetEventId()):
			if r.GetDrop().GetReason() != metivav1.Reason_REASON_TAMPERED {
				t.Errorf("the tampered capture: %v", r)
			}
		case r.GetEvent().GetResolution().GetConfirmation() != metivav1.Confirmation_CONFIRMATION_FORM || r.GetEvent().GetResolution().GetConfidence() != 0.98:
			t.Errorf("the event's company is not confirmed: %v", r)
		}
	}
	for _, topic := range schemas.Topics() {
		for _, r := range w.all(topic.Name) {
			searchPerson(t, topic.Name+" key", r.Key)
			searchPerson(t, topic.Name, r.Value)
		}
	}
	searchPerson(t, "log", w.log.bytes())
	families, err := w.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		searchPerson(t, "metrics", []byte(prototext.Format(f)))
	}
}

// searchPerson looks for what was typed, in any case, and for the parts of it.
func searchPerson(t *testing.T, where string, data []byte) {
	t.Helper()
	folded := bytes.ToLower(data)
	for _, needle := range []string{"canary.jan", "jan@ing", "canary  de", "canary de", "vries", "98765432", "canarymessage", "bel mij"} {
		if bytes.Contains(folded, []byte(needle)) {
			t.Errorf("%s holds %q in clear", where, needle)
		}
	}
	// Nor is there a digest of the address, which people are matched by elsewhere.
	for _, address := range []string{"canary.jan@ing.nl", "Canary.Jan@ing.nl", "Canary.Jan@ING.nl"} {
		whole := sha256.Sum256([]byte(address))
		for _, digest := range [][]byte{whole[:8], []byte(hex.EncodeToString(whole[:8]))} {
			if bytes.Contains(data, digest) {
				t.Errorf("%s holds a digest of the address", where)
			}
		}
	}
}

// TestFormBeforePageView: the order of a visitor's events changes nothing, in one batch
// or in two.
func TestFormBeforePageView(t *testing.T) {
	t.Parallel()
	var first *metivav1.Capture
	for name, split := range map[string]func(x *enrichment, form, view *metivav1.CollectedEvent){
		"view first": func(x *enrichment, form, view *metivav1.CollectedEvent) { x.take(view); x.take(form) },
		"form first": func(x *enrichment, form, view *metivav1.CollectedEvent) { x.take(form); x.take(view) },
		"one batch":  func(x *enrichment, form, view *metivav1.CollectedEvent) { x.take(form, view) },
		"no view":    func(x *enrichment, form, _ *metivav1.CollectedEvent) { x.take(form) },
	} {
		w := newWorld(t)
		w.register(tenant, "sit_a", 1, true)
		p := newPost()
		form, view := w.post(p), w.event(ingAddr, agent, analytics(p.visitor, 5))
		split(w.enrichment(), form, view)
		captures := w.captures()
		if len(captures) != 1 || !maps.Equal(w.open(captures[0]), wantOpened()) || w.outcomes()[string(form.GetEventId())].GetEvent().GetResolution().GetConfirmation() == 0 {
			t.Fatalf("%s: %d captures", name, len(captures))
		}
		got := proto.CloneOf(captures[0]) // without what every run has of its own
		got.EventId, got.VisitorId, got.SubjectId, got.ConsentRecordId, got.AcceptanceId, got.SealedFields, got.Source = nil, nil, nil, nil, nil, nil, nil
		got.ReceivedAtMs, got.OccurredAtMs, got.EnrichedAtMs, got.LinkedVisitor.VisitorId = 0, 0, 0, nil
		if first == nil {
			first = got
		} else if !proto.Equal(first, got) {
			t.Errorf("%s: %v, before it was %v", name, got, first)
		}
	}
}

// TestWithdrawalBeforeEnrichment: a withdrawal between the form and its enrichment makes
// no person, by visitor and by receipt; an older one does not count.
func TestWithdrawalBeforeEnrichment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(tenant, "sit_a", 1, true)
	x := w.enrichment()
	byVisitor, byReceipt, tie, kept := newPost(), newPost(), newPost(), newPost()
	byReceipt.visitor, byReceipt.sequence = nil, 0
	events := []*metivav1.CollectedEvent{w.post(byVisitor), w.post(byReceipt), w.post(tie), w.post(kept)}
	w.withdraw(byVisitor.subject, 9)
	w.withdraw(byReceipt.subject, 9)
	w.withdraw(tie.subject, 5)
	w.withdraw(kept.subject, 4)
	x.take(events...)
	outcomes := w.outcomes()
	for i, name := range []string{"by visitor", "by receipt", "tie"} {
		if d := outcomes[string(events[i].GetEventId())].GetDrop(); d.GetReason() != metivav1.Reason_REASON_WITHDRAWN {
			t.Errorf("%s: %v", name, d)
		}
	}
	if captures := w.captures(); len(captures) != 1 || !bytes.Equal(captures[0].GetSubjectId(), kept.subject) {
		t.Errorf("%d captures", len(captures))
	}
	if dead := w.all(schemas.TopicEventsDead); len(dead) != 0 {
		t.Errorf("%d dead letters of people who withdrew", len(dead))
	}
}

// TestTwoTenants: the same person in two tenants gives two captures with nothing in
// common, and erasing one leaves the other.
func TestTwoTenants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(tenant, "sit_a", 1, true)
	w.register(otherTenant, "sit_b", 1, true)
	x := w.enrichment()
	here, there := newPost(), newPost()
	there.tenant, there.brand, there.site = otherTenant, "brd_b", "sit_b"
	x.take(w.post(here), w.post(there))
	captures := w.captures()
	if len(captures) != 2 || captures[0].GetCompanyId() == captures[1].GetCompanyId() {
		t.Fatalf("%d captures", len(captures))
	}
	for _, c := range captures {
		if !maps.Equal(w.open(c), wantOpened()) {
			t.Errorf("%s: opened %q", c.GetCompanyId(), w.open(c))
		}
	}
	if shared := sharedParts(captures[0], captures[1]); len(shared) > 0 {
		t.Errorf("both hold %q", shared)
	}
	// A capture moved to the other tenant opens nothing, and a link leads nowhere there.
	moved := proto.CloneOf(captures[0])
	for name, sealed := range moved.GetSealedFields() {
		if _, err := w.opener.OpenField(nil, seal.Binding{
			CompanyID: captures[1].GetCompanyId(), SiteID: moved.GetSiteId(), EventID: [16]byte(moved.GetEventId()), SubjectID: [16]byte(moved.GetSubjectId()), Field: seal.PersonField(name),
		}, sealed); err == nil {
			t.Errorf("%s opens in another tenant", name)
		}
	}
	w.erase(tenant, here.subject)
	x.take(w.post(here), w.post(there))
	if after := w.captures(); len(after) != 3 {
		t.Errorf("%d captures after one was erased", len(after))
	}
}

// sharedParts are the byte fields that two captures have in common: an index of a value
// would be one.
func sharedParts(a, b *metivav1.Capture) [][]byte {
	parts := func(c *metivav1.Capture) (out [][]byte) {
		out = append(out, c.GetEventId(), c.GetVisitorId(), c.GetSubjectId(), c.GetConsentRecordId(), c.GetAcceptanceId())
		for _, sealed := range c.GetSealedFields() {
			out = append(out, sealed[1:9], sealed[9:21], sealed[21:37]) // key id, nonce, the beginning of what is sealed
		}
		return out
	}
	encoded, err := schemas.Encode(nil, b)
	if err != nil {
		panic(err)
	}
	var shared [][]byte
	for _, part := range parts(a) {
		if bytes.Contains(encoded, part) {
			shared = append(shared, part)
		}
	}
	return shared
}

// TestTwoBrands: the same person on two brands of one tenant is two captures, each with
// its brand and its own visitor; nothing but core, inside the tenant, can tell that they
// are one.
func TestTwoBrands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(tenant, "sit_a", 1, true)
	w.register(tenant, "sit_b", 1, true)
	one, two := newPost(), newPost()
	two.brand, two.site = "brd_b", "sit_b"
	w.enrichment().take(w.post(one), w.post(two))
	captures := w.captures()
	if len(captures) != 2 {
		t.Fatalf("%d captures", len(captures))
	}
	if captures[0].GetBrandId() == captures[1].GetBrandId() || captures[0].GetSiteId() == captures[1].GetSiteId() {
		t.Errorf("brands %s and %s", captures[0].GetBrandId(), captures[1].GetBrandId())
	}
	if shared := sharedParts(captures[0], captures[1]); len(shared) > 0 {
		t.Errorf("both hold %q", shared)
	}
	for _, c := range captures {
		if link := c.GetLinkedVisitor(); !bytes.Equal(link.GetVisitorId(), c.GetSubjectId()) {
			t.Errorf("a link to %x from the capture of %x", link.GetVisitorId(), c.GetSubjectId())
		}
	}
}

// TestReplayAfterErasure: a replay of what was captured before the erasure publishes
// nothing, by the tombstone of the person, of the tenant, and without one by the
// destroyed key.
func TestReplayAfterErasure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(tenant, "sit_a", 1, true)
	w.register(otherTenant, "sit_b", 1, true)
	person, shredded, gone := newPost(), newPost(), newPost()
	shredded.visitor, shredded.sequence = nil, 0
	gone.tenant, gone.site = otherTenant, "sit_b"
	events := []*metivav1.CollectedEvent{w.post(person), w.post(shredded), w.post(gone)}
	x := w.enrichment()
	x.take(events...)
	before := w.captures()
	if len(before) != 3 {
		t.Fatalf("%d captures", len(before))
	}
	w.erase(tenant, person.subject)
	w.erase(otherTenant, nil)
	for _, r := range w.all(schemas.TopicControlKeys) {
		if _, subject, _, ok := seal.ParseSubjectKeyRecordKey(r.Key); ok && bytes.Equal(subject[:], shredded.subject) {
			w.send(schemas.TopicControlKeys, 0, r.Key, nil)
		}
	}
	x.take(events...)
	if after := w.captures(); len(after) != 3 {
		t.Errorf("%d captures after a replay", len(after))
	}
	outcomes := w.outcomes()
	for i, want := range []metivav1.Reason{metivav1.Reason_REASON_ERASED, metivav1.Reason_REASON_SHREDDED, metivav1.Reason_REASON_ERASED} {
		if d := outcomes[string(events[i].GetEventId())].GetDrop(); d.GetReason() != want {
			t.Errorf("event %d: %v, want %v", i, d, want)
		}
	}
	if dead := w.all(schemas.TopicEventsDead); len(dead) != 0 {
		t.Errorf("%d dead letters of people who were erased", len(dead))
	}
	// What was published before opens no more either.
	for _, c := range before {
		if !bytes.Equal(c.GetSubjectId(), shredded.subject) {
			continue
		}
		for name, sealed := range c.GetSealedFields() {
			if _, err := w.opener.OpenField(nil, seal.Binding{
				CompanyID: c.GetCompanyId(), SiteID: c.GetSiteId(), EventID: [16]byte(c.GetEventId()), SubjectID: [16]byte(c.GetSubjectId()), Field: seal.PersonField(name),
			}, sealed); err == nil {
				t.Errorf("%s opens under a destroyed key", name)
			}
		}
	}
}
