package person

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	kindEmail   = metivav1.FieldKind_FIELD_KIND_EMAIL
	kindName    = metivav1.FieldKind_FIELD_KIND_NAME
	kindPhone   = metivav1.FieldKind_FIELD_KIND_PHONE
	kindCompany = metivav1.FieldKind_FIELD_KIND_COMPANY
	kindText    = metivav1.FieldKind_FIELD_KIND_TEXT

	company = metivav1.Verdict_VERDICT_COMPANY
)

// world is a step with real keys, and a collector's half of them.
type world struct {
	t      testing.TB
	sealer *seal.Sealer
	opener *seal.Opener
	sites  *Sites
	step   *Step
	mail   *MailServices
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	if err := seal.GenerateDevelopmentKeys(dir); err != nil {
		t.Fatal(err)
	}
	read := func(purpose string) seal.KeyMaterial {
		m, err := seal.ReadKeyFile(filepath.Join(dir, seal.KeyFileName(purpose)), purpose)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	private, err := read(seal.PurposeResolverPrivate).PrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := read(seal.PurposeResolverPublic).PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, opener: seal.NewOpener(private), sites: NewSites()}
	if w.sealer, err = seal.NewSealer(public, "collector-1", func(_ context.Context, rec *metivav1.DataKey) error {
		value, err := proto.Marshal(&metivav1.KeyRecord{Kind: &metivav1.KeyRecord_DataKey{DataKey: rec}})
		if err != nil {
			return err
		}
		return w.opener.ApplyKey(seal.RecordKeyOf(rec), value)
	}, time.Now); err != nil {
		t.Fatal(err)
	}
	if w.mail, err = NewMailServices(); err != nil {
		t.Fatal(err)
	}
	w.step = NewStep(w.opener, w.sites, w.mail)
	w.register(siteRecord())
	return w
}

func siteRecord() *metivav1.SiteRecord {
	return &metivav1.SiteRecord{
		CompanyId: "cmp_a", SiteId: "sit_a", Version: 2,
		Texts: []*metivav1.ConsentText{
			{Version: "linking", Language: "nl", LinksVisits: true},
			{Version: "silent", Language: "nl"},
			{Version: "flemish", Language: "nl-BE"},
			{Version: "of another form", Language: "nl", LinksVisits: true},
		},
		Forms: []*metivav1.FormPolicy{{
			FormId: "contact", TextVersions: []string{"linking", "silent", "flemish"},
			Fields: []*metivav1.FormField{
				{Name: "work", Kind: kindEmail},
				{Name: "email", Kind: kindEmail},
				{Name: "name", Kind: kindName},
				{Name: "phone", Kind: kindPhone},
				{Name: "company", Kind: kindCompany},
				{Name: "message", Kind: kindText},
			},
		}},
	}
}

func (w *world) register(rec *metivav1.SiteRecord) {
	w.t.Helper()
	value, err := proto.Marshal(rec)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.sites.Apply([]byte(rec.GetSiteId()), value); err != nil {
		w.t.Fatal(err)
	}
}

// captured is the event of a form post, sealed as a collector seals it.
func (w *world) captured(values map[string]string, change func(*metivav1.CollectedEvent)) *metivav1.CollectedEvent {
	w.t.Helper()
	visitor := bytes.Repeat([]byte{7}, 16)
	e := &metivav1.CollectedEvent{
		EventId: bytes.Repeat([]byte{1}, 16), CompanyId: "cmp_a", BrandId: "brd_a", SiteId: "sit_a", Type: metivav1.EventType_EVENT_TYPE_FORM,
		Consent: metivav1.ConsentState_CONSENT_STATE_IDENTIFIED, ConsentSeq: 5, ConsentTextVersion: "linking", VisitorId: visitor,
		Detail: &metivav1.CollectedEvent_FormCapture{FormCapture: &metivav1.FormCapture{FormId: "contact", SubjectId: visitor, ConsentRecordId: bytes.Repeat([]byte{9}, 16)}},
	}
	if change != nil {
		change(e)
	}
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
	return e
}

// take runs the step; what it returns is opened again.
func (w *world) take(e *metivav1.CollectedEvent, out *metivav1.EnrichedEvent) (*metivav1.Capture, map[string]string) {
	w.t.Helper()
	c, ok := Consented(e)
	if !ok {
		w.t.Fatal("not a consented capture")
	}
	if out == nil {
		out = &metivav1.EnrichedEvent{Resolution: &metivav1.Resolution{}}
	}
	made, err := w.step.Capture(NewScratch(), c, out)
	if err != nil {
		w.t.Fatal(err)
	}
	opened := make(map[string]string)
	for name, sealed := range made.GetSealedFields() {
		value, err := w.opener.OpenField(nil, seal.Binding{
			CompanyID: made.GetCompanyId(), SiteID: made.GetSiteId(), EventID: [16]byte(made.GetEventId()),
			SubjectID: [16]byte(made.GetSubjectId()), Field: seal.PersonField(name),
		}, sealed)
		if err != nil {
			w.t.Fatalf("%s: %v", name, err)
		}
		opened[name] = string(value)
	}
	return made, opened
}

func forms(c *metivav1.Capture) string {
	var out []string
	for _, f := range c.GetFields() {
		out = append(out, f.GetName()+" "+schemas.Label(f.GetKind())+" "+schemas.Label(f.GetForm()))
	}
	return strings.Join(out, ", ")
}

func TestFieldsAreNormalisedByKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	values := map[string]string{
		"email": " Jan+x@Example.NL", "name": "Jan  de\u00a0Vries", "phone": "06-12345678", "company": "Example\tB.V.",
		"message": "Hallo\r\ndaar", "gone": " was registered once ",
	}
	c, got := w.take(w.captured(values, nil), nil)
	want := map[string]string{
		"email": "Jan+x@example.nl", "name": "Jan de Vries", "phone": "+31612345678", "company": "Example B.V.",
		"message": "Hallo\ndaar", "gone": "was registered once",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got := forms(c); got != "company company normalised, email email normalised, gone none as_given, message text normalised, name name normalised, phone phone normalised" {
		t.Errorf("fields %s", got)
	}
	// What is not of its kind stays as it was typed, and what nobody sees is left out.
	c, got = w.take(w.captured(map[string]string{"email": " jan at example ", "phone": "bel mij", "name": "\u200b"}, nil), nil)
	if !maps.Equal(got, map[string]string{"email": "jan at example", "phone": "bel mij"}) || forms(c) != "email email as_given, phone phone as_given" {
		t.Errorf("got %q, %s", got, forms(c))
	}
	if c.GetMailDomain() != 0 {
		t.Errorf("a domain was read of what is no address: %v", c.GetMailDomain())
	}
}

func TestRegionOfNumbers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct{ text, country, in, want string }{
		{"silent", "", "0475123456", "+31475123456"},
		{"silent", "NL", "0475123456", "+31475123456"},
		{"silent", "BE", "0475123456", "+32475123456"},
		{"silent", "FR", "0475123456", "0475123456"},
		{"flemish", "NL", "0475123456", "+32475123456"},
		{"silent", "FR", "+31 475 123456", "+31475123456"},
	} {
		e := w.captured(map[string]string{"phone": c.in}, func(e *metivav1.CollectedEvent) { e.ConsentTextVersion = c.text })
		_, got := w.take(e, &metivav1.EnrichedEvent{Resolution: &metivav1.Resolution{}, Country: c.country})
		if got["phone"] != c.want {
			t.Errorf("text %s, country %q: %q, want %q", c.text, c.country, got["phone"], c.want)
		}
	}
}

// TestDomains: which address says what of the company, and what becomes of the verdict.
func TestDomains(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ing := func() *metivav1.Resolution {
		return &metivav1.Resolution{Verdict: company, AccountId: "ing.nl", Name: "ING", Domain: "ing.nl", Confidence: 0.75, Source: "as_type"}
	}
	with := func(change func(*metivav1.Resolution)) *metivav1.Resolution {
		r := ing()
		change(r)
		return r
	}
	for name, c := range map[string]struct {
		values     map[string]string
		resolution *metivav1.Resolution
		want       metivav1.MailDomain
	}{
		"its own domain":        {map[string]string{"email": "Jan@ING.nl"}, ing(), metivav1.MailDomain_MAIL_DOMAIN_CONFIRMED},
		"below its own":         {map[string]string{"email": "jan@mail.ing.nl"}, ing(), metivav1.MailDomain_MAIL_DOMAIN_CONFIRMED},
		"ends alike":            {map[string]string{"email": "jan@notaning.nl"}, ing(), metivav1.MailDomain_MAIL_DOMAIN_OTHER},
		"alike in Cyrillic":     {map[string]string{"email": "jan@\u0456ng.nl"}, ing(), metivav1.MailDomain_MAIL_DOMAIN_OTHER},
		"under another's":       {map[string]string{"email": "jan@ing.nl.example.com"}, ing(), metivav1.MailDomain_MAIL_DOMAIN_OTHER},
		"before the @":          {map[string]string{"email": "ing.nl@gmail.com"}, ing(), metivav1.MailDomain_MAIL_DOMAIN_FREE},
		"two of them":           {map[string]string{"email": "jan@ing.nl@example.com"}, ing(), metivav1.MailDomain_MAIL_DOMAIN_UNSPECIFIED},
		"behind another":        {map[string]string{"email": "jan@example.com,jan@ing.nl"}, ing(), metivav1.MailDomain_MAIL_DOMAIN_UNSPECIFIED},
		"with a dot behind":     {map[string]string{"email": "jan@ing.nl."}, ing(), metivav1.MailDomain_MAIL_DOMAIN_UNSPECIFIED},
		"no mailbox":            {map[string]string{"email": "@ing.nl"}, ing(), metivav1.MailDomain_MAIL_DOMAIN_UNSPECIFIED},
		"a suffix of many":      {map[string]string{"email": "jan@shop.github.io"}, with(func(r *metivav1.Resolution) { r.Domain = "github.io" }), metivav1.MailDomain_MAIL_DOMAIN_OTHER},
		"below a provider":      {map[string]string{"email": "jan@jansen.kpnmail.nl"}, with(func(r *metivav1.Resolution) { r.Domain = "kpnmail.nl" }), metivav1.MailDomain_MAIL_DOMAIN_FREE},
		"its students":          {map[string]string{"email": "jan@student.uva.nl"}, with(func(r *metivav1.Resolution) { r.Domain, r.AccountId = "uva.nl", "uva.nl" }), metivav1.MailDomain_MAIL_DOMAIN_CONFIRMED},
		"students at home":      {map[string]string{"email": "jan@student.uva.nl"}, with(func(r *metivav1.Resolution) { r.Verdict, r.Domain = metivav1.Verdict_VERDICT_ISP, "" }), metivav1.MailDomain_MAIL_DOMAIN_OTHER},
		"another company":       {map[string]string{"email": "jan@asml.com"}, ing(), metivav1.MailDomain_MAIL_DOMAIN_OTHER},
		"free mail":             {map[string]string{"email": "jan@gmail.com"}, ing(), metivav1.MailDomain_MAIL_DOMAIN_FREE},
		"access provider":       {map[string]string{"email": "jan@ziggo.nl"}, with(func(r *metivav1.Resolution) { r.Domain, r.AccountId = "ziggo.nl", "ziggo.nl" }), metivav1.MailDomain_MAIL_DOMAIN_FREE},
		"free mail as account":  {map[string]string{"email": "jan@gmail.com"}, with(func(r *metivav1.Resolution) { r.Domain, r.AccountId = "gmail.com", "gmail.com" }), metivav1.MailDomain_MAIL_DOMAIN_FREE},
		"no company":            {map[string]string{"email": "jan@ing.nl"}, with(func(r *metivav1.Resolution) { r.Verdict = metivav1.Verdict_VERDICT_ISP }), metivav1.MailDomain_MAIL_DOMAIN_OTHER},
		"account by number":     {map[string]string{"email": "jan@ing.nl"}, with(func(r *metivav1.Resolution) { r.Domain, r.AccountId = "", "as15625" }), metivav1.MailDomain_MAIL_DOMAIN_OTHER},
		"account that is a TLD": {map[string]string{"email": "jan@ing.co.uk"}, with(func(r *metivav1.Resolution) { r.Domain = "co.uk" }), metivav1.MailDomain_MAIL_DOMAIN_OTHER},
		"no address":            {map[string]string{"name": "jan@ing.nl"}, ing(), metivav1.MailDomain_MAIL_DOMAIN_UNSPECIFIED},
		"address in the text":   {map[string]string{"message": "jan@ing.nl"}, ing(), metivav1.MailDomain_MAIL_DOMAIN_UNSPECIFIED},
		"the first of the form": {map[string]string{"email": "jan@ing.nl", "work": "jan@gmail.com"}, ing(), metivav1.MailDomain_MAIL_DOMAIN_FREE},
		"the first that is one": {map[string]string{"email": "jan@ing.nl", "work": "none"}, ing(), metivav1.MailDomain_MAIL_DOMAIN_CONFIRMED},
	} {
		out := &metivav1.EnrichedEvent{Resolution: proto.CloneOf(c.resolution)}
		made, _ := w.take(w.captured(c.values, nil), out)
		if made.GetMailDomain() != c.want {
			t.Errorf("%s: %v, want %v", name, made.GetMailDomain(), c.want)
		}
		want := proto.CloneOf(c.resolution)
		account := ""
		if c.want == metivav1.MailDomain_MAIL_DOMAIN_CONFIRMED {
			want.Confidence, want.Confirmation, account = ConfidenceConfirmed, metivav1.Confirmation_CONFIRMATION_FORM, want.GetAccountId()
		}
		if !proto.Equal(out.GetResolution(), want) || made.GetAccountId() != account {
			t.Errorf("%s: resolution %v, account %q", name, out.GetResolution(), made.GetAccountId())
		}
	}
	// A verdict that is surer already stays as sure as it is.
	out := &metivav1.EnrichedEvent{Resolution: with(func(r *metivav1.Resolution) { r.Confidence = 0.99 })}
	if w.take(w.captured(map[string]string{"email": "a@ing.nl"}, nil), out); out.GetResolution().GetConfidence() != 0.99 {
		t.Errorf("confidence %v", out.GetResolution().GetConfidence())
	}
}

// TestLinks: only with a visitor id and a text that says so.
func TestLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(&metivav1.SiteRecord{CompanyId: "cmp_b", SiteId: "sit_b", Version: 1})
	for name, c := range map[string]struct {
		change func(*metivav1.CollectedEvent)
		linked bool
	}{
		"the text says so":  {func(*metivav1.CollectedEvent) {}, true},
		"it does not":       {func(e *metivav1.CollectedEvent) { e.ConsentTextVersion = "silent" }, false},
		"unknown text":      {func(e *metivav1.CollectedEvent) { e.ConsentTextVersion = "removed" }, false},
		"another form's":    {func(e *metivav1.CollectedEvent) { e.ConsentTextVersion = "of another form" }, false},
		"unknown form":      {func(e *metivav1.CollectedEvent) { e.GetFormCapture().FormId = "removed" }, false},
		"unknown site":      {func(e *metivav1.CollectedEvent) { e.SiteId = "sit_x" }, false},
		"of another tenant": {func(e *metivav1.CollectedEvent) { e.CompanyId = "cmp_b" }, false},
		"no sequence":       {func(e *metivav1.CollectedEvent) { e.ConsentSeq = 0 }, false},
		"no grant":          {func(e *metivav1.CollectedEvent) { e.VisitorId, e.ConsentSeq = nil, 0 }, false},
	} {
		made, opened := w.take(w.captured(map[string]string{"email": "Jan@Example.nl"}, c.change), nil)
		link := made.GetLinkedVisitor()
		if (link != nil) != c.linked || c.linked && (!bytes.Equal(link.GetVisitorId(), made.GetVisitorId()) || link.GetFromConsentSeq() != 5) {
			t.Errorf("%s: %v", name, link)
		}
		if len(opened) != 1 { // the value is kept whatever became of the registration
			t.Errorf("%s: %q", name, opened)
		}
	}
}

// TestConsented: a person's value has one way in.
func TestConsented(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whole := w.captured(map[string]string{"email": "a@b.nl"}, nil)
	if _, ok := Consented(whole); !ok {
		t.Fatal("a consented capture is refused")
	}
	for name, change := range map[string]func(*metivav1.CollectedEvent){
		"analytics":       func(e *metivav1.CollectedEvent) { e.Consent = metivav1.ConsentState_CONSENT_STATE_ANALYTICS },
		"withdrawn":       func(e *metivav1.CollectedEvent) { e.Consent = metivav1.ConsentState_CONSENT_STATE_WITHDRAWN },
		"denied":          func(e *metivav1.CollectedEvent) { e.Consent = metivav1.ConsentState_CONSENT_STATE_DENIED },
		"page view":       func(e *metivav1.CollectedEvent) { e.Type = metivav1.EventType_EVENT_TYPE_PAGE_VIEW },
		"no capture":      func(e *metivav1.CollectedEvent) { e.Detail = nil },
		"no fields":       func(e *metivav1.CollectedEvent) { e.GetFormCapture().SealedFields = nil },
		"no subject":      func(e *metivav1.CollectedEvent) { e.GetFormCapture().SubjectId = nil },
		"another visitor": func(e *metivav1.CollectedEvent) { e.VisitorId = bytes.Repeat([]byte{8}, 16) },
		"no id":           func(e *metivav1.CollectedEvent) { e.EventId = nil },
	} {
		e := proto.CloneOf(whole)
		change(e)
		if _, ok := Consented(e); ok {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestFaultyFields: one field that does not open leaves nothing of the capture, and
// nothing of it in the error.
func TestFaultyFields(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		change func(*metivav1.CollectedEvent)
		want   error
	}{
		"flipped bit": {func(e *metivav1.CollectedEvent) {
			f := e.GetFormCapture().GetSealedFields()["name"]
			f[len(f)-1] ^= 1
		}, seal.ErrTampered},
		"swapped fields": {func(e *metivav1.CollectedEvent) {
			f := e.GetFormCapture().GetSealedFields()
			f["name"], f["email"] = f["email"], f["name"]
		}, seal.ErrTampered},
		"another event":  {func(e *metivav1.CollectedEvent) { e.EventId = bytes.Repeat([]byte{2}, 16) }, seal.ErrTampered},
		"another tenant": {func(e *metivav1.CollectedEvent) { e.CompanyId = "cmp_b" }, seal.ErrTampered},
		"another person": {func(e *metivav1.CollectedEvent) {
			e.VisitorId, e.GetFormCapture().SubjectId = nil, bytes.Repeat([]byte{8}, 16)
		}, seal.ErrTampered},
		"unknown key": {func(e *metivav1.CollectedEvent) { e.GetFormCapture().GetSealedFields()["name"][3] ^= 1 }, seal.ErrUnknownKey},
	} {
		e := w.captured(map[string]string{"email": "CanaryMail@ing.nl", "name": "CanaryName"}, nil)
		c.change(e)
		out := &metivav1.EnrichedEvent{Resolution: &metivav1.Resolution{Verdict: company, AccountId: "ing.nl", Domain: "ing.nl"}}
		before := proto.CloneOf(out)
		captured, _ := Consented(e)
		sc := NewScratch()
		made, err := w.step.Capture(sc, captured, out)
		if !errors.Is(err, c.want) || made != nil || !proto.Equal(out, before) {
			t.Errorf("%s: %v, %v, %v", name, made, err, out)
		}
		if strings.Contains(err.Error(), "Canary") || strings.Contains(err.Error(), "name") {
			t.Errorf("%s: the error says %q", name, err)
		}
		checkCleared(t, sc)
	}
}

func checkCleared(t *testing.T, sc *Scratch) {
	t.Helper()
	for _, memory := range [][]byte{sc.opened, sc.temp, sc.normal} {
		if slices.ContainsFunc(memory[:cap(memory)], func(c byte) bool { return c != 0 }) || len(memory) != 0 {
			t.Error("opened values stay in memory")
		}
	}
}

// TestNothingStays: the memory is used again and again, and is empty between.
func TestNothingStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sc := NewScratch()
	opened := &sc.opened[:1][0]
	long := strings.Repeat("Canary\u0958 ", schemas.FormFieldBytesMax/10)
	e := w.captured(map[string]string{"email": "canary@ing.nl", "name": long, "message": long, "company": long, "phone": "0612345678"}, nil)
	captured, _ := Consented(e)
	for range 3 {
		if _, err := w.step.Capture(sc, captured, &metivav1.EnrichedEvent{Resolution: &metivav1.Resolution{}}); err != nil {
			t.Fatal(err)
		}
		checkCleared(t, sc)
		if &sc.opened[:1][0] != opened {
			t.Error("the memory was left behind for another")
		}
	}
}

func TestSitesTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kindOf := func() metivav1.FieldKind {
		return w.sites.rules("cmp_a", "sit_a", "contact", "silent").field("phone").kind
	}
	older := siteRecord()
	older.Version, older.Forms = 1, nil
	w.register(older)
	if kindOf() != kindPhone {
		t.Error("an older registration replaced a newer one")
	}
	older.Version = 3
	w.register(older)
	if kindOf() != 0 {
		t.Error("a removed form is still known")
	}
	w.register(func() *metivav1.SiteRecord { r := siteRecord(); r.Version = 4; return r }())
	if kindOf() != kindPhone {
		t.Error("a form that came back is not known")
	}
	if err := w.sites.Apply([]byte("sit_a"), nil); err != nil || kindOf() != 0 {
		t.Errorf("a removed site is still known: %v", err)
	}
	for name, value := range map[string][]byte{"no record": []byte("canary"), "another site's": {0x1a, 1, 'x'}} {
		if err := w.sites.Apply([]byte("sit_a"), value); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for tag, want := range map[string]string{"nl": "", "nl-BE": "BE", "nl-be": "BE", "zh-Hant-TW": "TW", "en-x-be": "", "": ""} {
		if got := regionOf(tag); got != want {
			t.Errorf("%q: %q, want %q", tag, got, want)
		}
	}
}

func BenchmarkCapture(b *testing.B) {
	w := newWorld(b)
	values := map[string]string{"email": "Jan@ING.nl", "name": "Jan de Vries", "phone": "06 12345678", "company": "ING", "message": "Bel mij terug."}
	sc, out := NewScratch(), &metivav1.EnrichedEvent{Resolution: &metivav1.Resolution{Verdict: company, Domain: "ing.nl"}}
	var captured Captured
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%100_000 == 0 { // a key seals no more than a million values here
			b.StopTimer()
			captured, _ = Consented(w.captured(values, nil))
			b.StartTimer()
		}
		if _, err := w.step.Capture(sc, captured, out); err != nil {
			b.Fatal(err)
		}
	}
}
