package person

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/metiva-io/metiva/enrich/orgname"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// ConfidenceConfirmed is how sure a company is that the network and the e-mail address of
// a consented form name alike: two sources that do not know of each other.
const ConfidenceConfirmed = 0.98

// Vault opens a person's values and seals them again (pkg/seal.Opener).
type Vault interface {
	OpenField(dst []byte, b seal.Binding, blob []byte) ([]byte, error)
	ResealField(dst []byte, b seal.Binding, blob, plaintext []byte) ([]byte, error)
}

// Captured is a capture whose visitor consented to be identified. Only Consented makes
// one, and only from one can a person's value be opened.
type Captured struct {
	event *metivav1.CollectedEvent
}

// Consented accepts the event of a form in state IDENTIFIED with sealed fields and a
// subject, who is the visitor where there is one. The event must not be changed while
// the Captured is used.
func Consented(e *metivav1.CollectedEvent) (Captured, bool) {
	c := e.GetFormCapture()
	if c == nil || e.GetConsent() != metivav1.ConsentState_CONSENT_STATE_IDENTIFIED || e.GetType() != metivav1.EventType_EVENT_TYPE_FORM ||
		len(c.GetSealedFields()) == 0 || len(c.GetSubjectId()) != schemas.IDBytes || len(e.GetEventId()) != schemas.IDBytes ||
		len(e.GetVisitorId()) > 0 && !bytes.Equal(e.GetVisitorId(), c.GetSubjectId()) {
		return Captured{}, false
	}
	return Captured{event: e}, true
}

// Scratch is the memory opened values live in, of one goroutine. It must not become an
// interface value (pkg/seal/leaktest).
type Scratch struct {
	opened, temp, normal []byte
}

// nfcGrowthMax is how much longer a text may be in Unicode NFC, in UTF-8 (Unicode
// Standard Annex 15, section "Stability of Normalized Forms"), with room for the joiners
// of its stream-safe form.
const nfcGrowthMax = 4

// NewScratch makes memory for the longest value.
func NewScratch() *Scratch {
	return &Scratch{
		opened: make([]byte, 0, schemas.FormFieldBytesMax), temp: make([]byte, 0, schemas.FormFieldBytesMax),
		normal: make([]byte, 0, nfcGrowthMax*schemas.FormFieldBytesMax),
	}
}

// Clear overwrites all that was opened.
func (s *Scratch) Clear() {
	for _, memory := range []*[]byte{&s.opened, &s.temp, &s.normal} {
		clear((*memory)[:cap(*memory)])
		*memory = (*memory)[:0]
	}
}

// Step makes Captures. It is safe for concurrent use, each goroutine with a Scratch of
// its own.
type Step struct {
	vault Vault
	sites *Sites
	mail  *MailServices
}

// NewStep returns a step over the sites' registrations.
func NewStep(vault Vault, sites *Sites, mail *MailServices) *Step {
	return &Step{vault: vault, sites: sites, mail: mail}
}

// Capture opens the values of c, normalises them and seals them again. Out is what enrich
// makes of the same event: its verdict, country, bot class and source are read, and its
// Resolution is confirmed where the form does. The error is seal.ErrUnknownKey,
// ErrShredded, ErrTampered or ErrNoKey, wrapped with the number of the field and nothing
// of it; out is not changed then. Sc is cleared before Capture returns.
func (s *Step) Capture(sc *Scratch, c Captured, out *metivav1.EnrichedEvent) (*metivav1.Capture, error) {
	defer sc.Clear()
	e, post := c.event, c.event.GetFormCapture()
	rules := s.sites.rules(e.GetCompanyId(), e.GetSiteId(), post.GetFormId(), e.GetConsentTextVersion())
	made := captureOf(e, out)
	w := work{
		step: s, sc: sc, rules: rules, region: region(rules.text, out.GetCountry()), made: made,
		company: orgname.Registrable(out.GetResolution().GetDomain()), mailPlace: -1,
		binding: seal.Binding{
			CompanyID: e.GetCompanyId(), SiteID: e.GetSiteId(), EventID: [schemas.IDBytes]byte(e.GetEventId()),
			SubjectID: [schemas.IDBytes]byte(post.GetSubjectId()),
		},
	}
	if out.GetResolution().GetVerdict() != metivav1.Verdict_VERDICT_COMPANY {
		w.company = ""
	}
	names := make([]string, 0, len(post.GetSealedFields()))
	for name := range post.GetSealedFields() {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		if err := w.field(name, post.GetSealedFields()[name]); err != nil {
			return nil, fmt.Errorf("field %d of a capture: %w", i+1, err)
		}
	}
	if made.GetMailDomain() == metivav1.MailDomain_MAIL_DOMAIN_CONFIRMED {
		r := out.GetResolution()
		made.AccountId = r.GetAccountId()
		r.Confirmation = metivav1.Confirmation_CONFIRMATION_FORM
		r.Confidence = max(r.GetConfidence(), ConfidenceConfirmed)
	}
	// Sequences start at 1: a link from 0 on would cover every grant there ever was.
	if rules.text.linksVisits && len(e.GetVisitorId()) > 0 && e.GetConsentSeq() > 0 {
		made.LinkedVisitor = &metivav1.LinkedVisitor{VisitorId: e.GetVisitorId(), FromConsentSeq: e.GetConsentSeq()}
	}
	return made, nil
}

// captureOf carries over what is not sealed.
func captureOf(e *metivav1.CollectedEvent, out *metivav1.EnrichedEvent) *metivav1.Capture {
	post := e.GetFormCapture()
	return &metivav1.Capture{
		EventId: e.GetEventId(), CompanyId: e.GetCompanyId(), BrandId: e.GetBrandId(), SiteId: e.GetSiteId(), VisitorId: e.GetVisitorId(),
		ReceivedAtMs: e.GetReceivedAtMs(), OccurredAtMs: e.GetOccurredAtMs(), EnrichedAtMs: out.GetEnrichedAtMs(),
		ConsentRecordId: post.GetConsentRecordId(), ConsentSeq: e.GetConsentSeq(), TextVersion: e.GetConsentTextVersion(),
		SealedFields: make(map[string][]byte, len(post.GetSealedFields())), Fields: make([]*metivav1.CaptureField, 0, len(post.GetSealedFields())),
		Source: out.GetSource(), SubjectId: post.GetSubjectId(), FormId: post.GetFormId(), Bot: out.GetBot(),
		RetentionDays: e.GetRetentionDays(), AcceptanceId: out.GetAcceptanceId(),
	}
}

// region is where a national telephone number is of: the region of the text beside the
// form, else the country of the network, else the Netherlands.
func region(t text, country string) string {
	switch {
	case t.region != "":
		return t.region
	case country != "":
		return country
	}
	return regionNL
}

// work is one capture on its way.
type work struct {
	step      *Step
	sc        *Scratch
	rules     rules
	region    string
	made      *metivav1.Capture
	binding   seal.Binding
	company   string // registrable domain of the account of the network; empty for none
	mailPlace int    // in the form, of the e-mail address that spoke; -1 for none
}

// field takes one value through.
func (w *work) field(name string, blob []byte) (err error) {
	w.binding.Field = seal.FormField(name)
	if w.sc.opened, err = w.step.vault.OpenField(w.sc.opened[:0], w.binding, blob); err != nil {
		return err
	}
	known := w.rules.field(name)
	form := w.normalise(known.kind)
	if known.kind == metivav1.FieldKind_FIELD_KIND_EMAIL && form == metivav1.FieldForm_FIELD_FORM_NORMALISED &&
		(w.mailPlace < 0 || known.place < w.mailPlace) {
		w.mailPlace = known.place
		w.made.MailDomain = w.mailDomain(domainOf(w.sc.normal))
	}
	if len(w.sc.normal) == 0 {
		return nil // it held nothing anybody sees
	}
	w.binding.Field = seal.PersonField(name)
	sealed, err := w.step.vault.ResealField(make([]byte, 0, len(w.sc.normal)+seal.Overhead), w.binding, blob, w.sc.normal)
	if err != nil {
		return err
	}
	w.made.SealedFields[name] = sealed
	w.made.Fields = append(w.made.Fields, &metivav1.CaptureField{Name: name, Kind: known.kind, Form: form})
	return nil
}

// normalise writes the value at work into sc.normal, by the kind of its field.
func (w *work) normalise(kind metivav1.FieldKind) metivav1.FieldForm {
	sc := w.sc
	ok, cut := false, false
	switch kind {
	case metivav1.FieldKind_FIELD_KIND_EMAIL:
		sc.normal, ok = AppendEmail(sc.normal[:0], sc.opened)
	case metivav1.FieldKind_FIELD_KIND_PHONE:
		sc.normal, ok = AppendPhone(sc.normal[:0], sc.opened, w.region)
	case metivav1.FieldKind_FIELD_KIND_NAME, metivav1.FieldKind_FIELD_KIND_COMPANY:
		sc.normal, cut = AppendLine(sc.normal[:0], sc.opened, sc.temp)
		ok = true
	case metivav1.FieldKind_FIELD_KIND_TEXT:
		sc.normal, cut = AppendText(sc.normal[:0], sc.opened, sc.temp)
		ok = true
	case metivav1.FieldKind_FIELD_KIND_UNSPECIFIED:
	}
	switch {
	case !ok:
		sc.normal = append(sc.normal[:0], bytes.TrimSpace(sc.opened)...)
		return metivav1.FieldForm_FIELD_FORM_AS_GIVEN
	case cut:
		return metivav1.FieldForm_FIELD_FORM_CUT
	}
	return metivav1.FieldForm_FIELD_FORM_NORMALISED
}

// mailDomain says what a domain tells of a company.
func (w *work) mailDomain(domain []byte) metivav1.MailDomain {
	switch {
	case w.step.mail.Has(domain):
		return metivav1.MailDomain_MAIL_DOMAIN_FREE
	case isWithin(domain, w.company):
		return metivav1.MailDomain_MAIL_DOMAIN_CONFIRMED
	}
	return metivav1.MailDomain_MAIL_DOMAIN_OTHER
}

// isWithin reports whether a domain is the company's, or below it.
func isWithin(domain []byte, company string) bool {
	above := len(domain) - len(company)
	return company != "" && above >= 0 && string(domain[above:]) == company && (above == 0 || domain[above-1] == '.')
}
