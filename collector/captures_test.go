package collector

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	testFormText = "form-nl-1"
	testRedirect = testOrigin + "/bedankt?via=formulier"
	// typedWord stands in everything tests type into forms.
	typedWord = "kanarie"
)

// withForm registers a text and the form "contact".
func withForm(rec *metivav1.SiteRecord) {
	sum := sha256.Sum256([]byte("Ja, neem contact met mij op."))
	rec.Texts = []*metivav1.ConsentText{{Version: testFormText, Language: "nl", Sha256: sum[:]}, {Version: "banner-1", Language: "nl", Sha256: sum[:]}}
	rec.Forms = []*metivav1.FormPolicy{{
		FormId: "contact",
		Fields: []*metivav1.FormField{
			{Name: "email", Kind: metivav1.FieldKind_FIELD_KIND_EMAIL, Required: true},
			{Name: "name", Kind: metivav1.FieldKind_FIELD_KIND_NAME},
			{Name: "phone", Kind: metivav1.FieldKind_FIELD_KIND_PHONE},
			{Name: "message", Kind: metivav1.FieldKind_FIELD_KIND_TEXT},
		},
		TextVersions: []string{testFormText}, RedirectUrls: []string{testRedirect},
	}}
}

// startFormEdge runs a collector whose site has a form.
func startFormEdge(t testing.TB, change func(*Config)) *edge {
	t.Helper()
	e := newEdge(t, nil, func(c *Config) {
		roomyLimits(c)
		c.NetworkCapturesPerMinute, c.SiteCapturesPerMinute = 100_000, 100_000
		if change != nil {
			change(c)
		}
	})
	rec := siteRecord()
	withForm(rec)
	e.applySite(rec)
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	e.start()
	return e
}

type object = map[string]any

// captureBody is a good capture in JSON.
func (e *edge) captureBody() object {
	return object{
		"site": testKey, "form": "contact", "id": uuid.Must(uuid.NewV7()).String(), "at": e.clock.Now().UnixMilli(), "sent_at": e.clock.Now().UnixMilli(),
		"url": testOrigin + "/contact?utm_source=nieuws&email=" + typedWord, "referrer": "https://www.google.com/search?q=" + typedWord,
		"consent": object{"given": true, "text_version": testFormText, "language": "nl"},
		"fields":  object{"email": typedWord + "@example.nl", "name": "Jan " + typedWord, "message": "bel mij\n" + typedWord, "password": typedWord},
	}
}

func with(body object, name string, value any) object {
	out := maps.Clone(body)
	out[name] = value
	return out
}

func (e *edge) capture(body any, change ...func(map[string]string)) answered {
	e.t.Helper()
	h := browserHeaders()
	for _, f := range change {
		f(h)
	}
	return e.do(http.MethodPost, PathCaptures, body, h)
}

// receipt of an accepted capture.
func receiptOf(t testing.TB, a answered) []byte {
	t.Helper()
	_, rest, ok := strings.Cut(string(a.body), `{"outcome":"accepted","receipt":"`)
	id, err := hex.DecodeString(strings.TrimSuffix(rest, `"}`))
	if a.status != http.StatusOK || !ok || err != nil || len(id) != schemas.IDBytes {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	return id
}

// formHeaders are those of a browser that leaves its page with a form.
func formHeaders(h map[string]string) {
	h["Content-Type"] = "application/x-www-form-urlencoded"
	h["Referer"] = testOrigin + "/"
	h["Accept-Language"] = "nl-NL,nl;q=0.9,en-US;q=0.8,en;q=0.7"
}

func formBody() url.Values {
	return url.Values{
		"metiva_site": {testKey}, "metiva_form": {"contact"}, "metiva_consent": {"on"}, "metiva_text_version": {testFormText}, "metiva_redirect": {testRedirect},
		"email": {typedWord + "@example.nl"}, "name": {"Jan " + typedWord}, "newsletter": {typedWord, typedWord},
	}
}

// submit posts a form as a browser does, and does not follow.
func (e *edge) submit(values url.Values, change ...func(map[string]string)) answered {
	e.t.Helper()
	return e.submitText(values.Encode(), change...)
}

func (e *edge) submitText(body string, change ...func(map[string]string)) answered {
	e.t.Helper()
	h := browserHeaders()
	formHeaders(h)
	for _, f := range change {
		f(h)
	}
	req, err := http.NewRequest(http.MethodPost, e.url+PathCaptures, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	for name, value := range h {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer res.Body.Close()
	a := answered{status: res.StatusCode, header: res.Header}
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		e.t.Fatal(err)
	}
	a.body = b.Bytes()
	return a
}

// openForm opens the fields of a capture with the keys produced so far.
func (e *edge) openForm(ev *metivav1.CollectedEvent) map[string]string {
	e.t.Helper()
	e.open(ev)
	out := map[string]string{}
	for name, sealed := range ev.GetFormCapture().GetSealedFields() {
		plain, err := e.opener.OpenField(nil, bindingOf(ev, name), sealed)
		if err != nil {
			e.t.Fatalf("opening %s: %v", name, err)
		}
		out[name] = string(plain)
	}
	return out
}

func bindingOf(ev *metivav1.CollectedEvent, field string) seal.Binding {
	return seal.Binding{
		CompanyID: ev.GetCompanyId(), SiteID: ev.GetSiteId(), EventID: [16]byte(ev.GetEventId()),
		SubjectID: [16]byte(ev.GetFormCapture().GetSubjectId()), Field: seal.FormField(field),
	}
}

func (e *edge) consentRecords() []*metivav1.ConsentRecord {
	e.t.Helper()
	var out []*metivav1.ConsentRecord
	for _, r := range e.log.of(schemas.TopicConsentRecords) {
		rec, err := consent.ReadRecord(r.value)
		if err != nil {
			e.t.Fatal(err)
		}
		out = append(out, rec)
	}
	return out
}

func TestCapture(t *testing.T) {
	t.Parallel()
	e := startFormEdge(t, nil)
	body := e.captureBody()
	body["at"] = e.clock.Now().Add(-2 * time.Minute).UnixMilli()
	a := e.capture(body)
	subject := receiptOf(t, a)
	ev := e.only(1)
	c := ev.GetFormCapture()
	if ev.GetType() != metivav1.EventType_EVENT_TYPE_FORM || ev.GetConsent() != metivav1.ConsentState_CONSENT_STATE_IDENTIFIED || len(ev.GetVisitorId()) != 0 || ev.GetConsentSeq() != 0 ||
		ev.GetConsentTextVersion() != testFormText || ev.GetPath() != "/contact" || ev.GetHost() != "www.example.nl" || ev.GetReferrerHost() != "www.google.com" || ev.GetCampaign().GetSource() != "nieuws" ||
		ev.GetOccurredAtMs() != e.clock.Now().Add(-2*time.Minute).UnixMilli() || c.GetFormId() != "contact" || !bytes.Equal(c.GetSubjectId(), subject) {
		t.Errorf("event %v", ev)
	}
	want := map[string]string{"email": typedWord + "@example.nl", "name": "Jan " + typedWord, "message": "bel mij\n" + typedWord}
	if got := e.openForm(ev); !maps.Equal(got, want) {
		t.Errorf("sealed %q", got)
	}
	if network, agent := e.open(ev); network != "145.221.173.0/24" || agent != testAgent {
		t.Errorf("sealed %s %q", network, agent)
	}
	recs := e.consentRecords()
	if len(recs) != 1 {
		t.Fatalf("%d consent records", len(recs))
	}
	rec := recs[0]
	sum := sha256.Sum256([]byte("Ja, neem contact met mij op."))
	if !bytes.Equal(rec.GetRecordId(), c.GetConsentRecordId()) || !bytes.Equal(rec.GetSubjectId(), subject) || rec.GetState() != metivav1.ConsentState_CONSENT_STATE_IDENTIFIED || rec.GetSource() != "form" ||
		rec.GetTextVersion() != testFormText || !bytes.Equal(rec.GetTextSha256(), sum[:]) || rec.GetLanguage() != "nl" || rec.GetPurposes()[0] != consent.PurposeIdentification || rec.GetSequence() == 0 ||
		!bytes.Equal(rec.GetEvidenceEventId(), ev.GetEventId()) || rec.GetGivenAtMs() != e.clock.Now().UnixMilli() || rec.GetExpiresAtMs() <= rec.GetGivenAtMs() || rec.GetPolicyVersion() != 1 {
		t.Errorf("record %v", rec)
	}
	// Keys, consent, event: none is there without what it needs.
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, r := range e.log.records {
		if r.topic != schemas.TopicLedgerEdge {
			order = append(order, r.topic)
		}
	}
	if got := strings.Join(order, " "); got != "control.keys control.keys consent.records events.collected" {
		t.Errorf("produced %s", got)
	}
}

// TestCaptureOfAVisitor: with a grant for analytics the person is the visitor, and
// without one nothing links the capture to anything.
func TestCaptureOfAVisitor(t *testing.T) {
	t.Parallel()
	e := startFormEdge(t, nil)
	e.post(e.bodyWithToken(e.token(5), newPage(e)))
	e.post(e.body(newPage(e)))
	visit, network := e.only(2), e.log.events(t)[0]
	visit, network = network, visit
	if subject := receiptOf(t, e.capture(with(e.captureBody(), "token", e.token(5)))); !bytes.Equal(subject, visit.GetVisitorId()) {
		t.Errorf("the subject is %x", subject)
	}
	linked := e.only(3)
	if !bytes.Equal(linked.GetVisitorId(), visit.GetVisitorId()) || !bytes.Equal(linked.GetVisitKey(), visit.GetVisitKey()) || linked.GetConsentSeq() != 5 || e.consentRecords()[0].GetSequence() <= 5 {
		t.Errorf("linked: %v", linked)
	}
	e.openForm(linked)
	subject := [consent.IDBytes]byte{7, 7, 7}
	value, err := proto.Marshal(&metivav1.Withdrawal{CompanyId: testCompany, SubjectId: subject[:], Sequence: consent.EverySequence})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.ApplyWithdrawal(consent.WithdrawalRecordKey(testCompany, subject), value); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{string(subject[:]): true, string(visit.GetVisitKey()): true, string(network.GetVisitKey()): true}
	for name, token := range map[string]any{"withdrawn": e.token(5), "forged": "AAAA", "none": nil} {
		id := receiptOf(t, e.capture(with(e.captureBody(), "token", token)))
		events := e.log.events(t)
		ev := events[len(events)-1]
		if seen[string(id)] || seen[string(ev.GetVisitKey())] || bytes.Equal(id, ev.GetVisitKey()) || len(ev.GetVisitorId()) != 0 || ev.GetConsentSeq() != 0 {
			t.Errorf("%s: subject %x, %v", name, id, ev)
		}
		seen[string(id)], seen[string(ev.GetVisitKey())] = true, true
	}
}

// TestRepeatedCapture: the same id is the same subject and the same visit, so that
// what comes twice can be told; the key and the record are new.
func TestRepeatedCapture(t *testing.T) {
	t.Parallel()
	e := startFormEdge(t, nil)
	body := e.captureBody()
	first, second := receiptOf(t, e.capture(body)), receiptOf(t, e.capture(body))
	events := e.log.events(t)
	if !bytes.Equal(first, second) || !bytes.Equal(events[0].GetVisitKey(), events[1].GetVisitKey()) || !bytes.Equal(events[0].GetEventId(), events[1].GetEventId()) {
		t.Errorf("%x and %x, %v", first, second, events)
	}
	recs := e.consentRecords()
	if !bytes.Equal(recs[0].GetEvidenceEventId(), recs[1].GetEvidenceEventId()) || bytes.Equal(recs[0].GetRecordId(), recs[1].GetRecordId()) {
		t.Errorf("records %v", recs)
	}
	e.openForm(events[0])
	e.openForm(events[1])
}

// TestCaptureFailures: whatever cannot be made durable, the answer is retry, and
// the ledger counts it once.
func TestCaptureFailures(t *testing.T) {
	t.Parallel()
	for _, topic := range []string{schemas.TopicControlKeys, schemas.TopicConsentRecords, schemas.TopicEventsCollected} {
		t.Run(topic, func(t *testing.T) {
			t.Parallel()
			e := startFormEdge(t, func(c *Config) { c.AckTimeout = 500 * time.Millisecond })
			receiptOf(t, e.capture(e.captureBody())) // the tenant has its key
			failing := true
			e.log.mu.Lock()
			e.log.refuse = func(of string) error {
				if failing && of == topic {
					return errors.New("away")
				}
				return nil
			}
			e.log.mu.Unlock()
			body := e.captureBody()
			a := e.capture(body)
			if a.status != http.StatusServiceUnavailable || a.Reason != "unacknowledged" || a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), `"outcome":"retry"`) {
				t.Errorf("answered %d %s", a.status, a.body)
			}
			form := e.submit(formBody())
			if form.status != http.StatusServiceUnavailable || form.header.Get("Location") != "" || form.header.Get("Retry-After") == "" || !strings.Contains(string(form.body), "Nog niet gelukt") {
				t.Errorf("a form was answered %d %s", form.status, form.body)
			}
			e.log.mu.Lock()
			failing = false
			e.log.mu.Unlock()
			// The client tries again until it is taken: a chain first repeats the
			// record it could not place.
			retries := uint64(2)
			waittest.Until(t, 20*time.Second, "the capture is taken", func() bool {
				a = e.capture(body)
				if a.status != http.StatusOK {
					retries++
				}
				return a.status == http.StatusOK
			})
			receiptOf(t, a)
			wantLedger(t, e.stoppedLedger(), map[string]uint64{testCompany + "/none": 2, testCompany + "/unacknowledged": retries})
			if n := len(e.log.events(t)); n != 2 {
				t.Errorf("%d events", n)
			}
		})
	}
}

// TestCapturePanic: a panic fails its request alone, is counted, and quotes
// nothing.
func TestCapturePanic(t *testing.T) {
	t.Parallel()
	e := startFormEdge(t, nil)
	e.log.mu.Lock()
	e.log.onEvent = func(*metivav1.CollectedEvent) { panic(typedWord) }
	e.log.mu.Unlock()
	if a := e.capture(e.captureBody()); a.status != http.StatusInternalServerError || a.Reason != "internal" {
		t.Errorf("answered %d %s", a.status, a.body)
	}
	e.log.mu.Lock()
	e.log.onEvent = nil
	e.log.mu.Unlock()
	receiptOf(t, e.capture(e.captureBody()))
	wantLedger(t, e.stoppedLedger(), map[string]uint64{testCompany + "/none": 1, testCompany + "/internal": 1})
	if sums := e.metricSums(t); sums["metiva_collector_panics_total"] != 1 || strings.Contains(e.logged.String(), typedWord) {
		t.Errorf("%v panics, log %s", sums["metiva_collector_panics_total"], e.logged)
	}
}

// TestCaptureLimits: captures have limits of their own, which events do not use
// up.
func TestCaptureLimits(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"capture_network": func(c *Config) { c.NetworkCapturesPerMinute = 2 },
		"capture_site":    func(c *Config) { c.SiteCapturesPerMinute = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startFormEdge(t, change)
			e.post(e.body(newPage(e), newPage(e), newPage(e)))
			receiptOf(t, e.capture(e.captureBody()))
			receiptOf(t, e.capture(e.captureBody()))
			if a := e.capture(e.captureBody()); a.status != http.StatusTooManyRequests || a.Reason != "rate_limited" || a.header.Get("Retry-After") != "30" {
				t.Errorf("answered %d %s, %s", a.status, a.body, a.header.Get("Retry-After"))
			}
			if a := e.submit(formBody()); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "30" || !strings.Contains(string(a.body), "Nog niet gelukt") {
				t.Errorf("answered %d %s", a.status, a.body)
			}
			other := e.capture(e.captureBody(), header("X-Forwarded-For", "8.8.8.8"))
			if got := other.status == http.StatusOK; got != (name == "capture_network") {
				t.Errorf("another network was answered %d", other.status)
			}
			e.clock.Set(e.clock.Now().Add(30 * time.Second))
			receiptOf(t, e.capture(e.captureBody()))
		})
	}
}
