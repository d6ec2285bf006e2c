package collector

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/metiva-io/metiva/collector/mask"
	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

var errNotCapturable = errors.New("collector: the post may not be captured")

// eventOf is the only place a FormCapture is made, and it takes a
// consent.Capture: one that does not allow it makes none.
func (p *capture) eventOf(d consent.Capture, key *seal.SubjectKey, recordID [schemas.IDBytes]byte, visit visitKey, occurredAtMs int64) (*metivav1.CollectedEvent, error) {
	if !d.Allows() {
		return nil, errNotCapturable
	}
	r, subject := p.r, d.SubjectID()
	detail := &metivav1.FormCapture{
		FormId: p.form.policy.ID, SubjectId: subject[:], ConsentRecordId: recordID[:],
		SealedFields: make(map[string][]byte, len(p.fields)),
	}
	binding := seal.Binding{CompanyID: r.site.companyID, SiteID: r.site.siteID, EventID: p.event.id, SubjectID: subject}
	for _, f := range p.fields {
		binding.Field = seal.FormField(f.Name)
		sealed, err := key.SealField(make([]byte, 0, len(f.Value)+seal.Overhead), binding, f.Value)
		if err != nil {
			return nil, fmt.Errorf("sealing a form's field: %w", err)
		}
		detail.SealedFields[f.Name] = sealed
	}
	decision := d.Decision()
	m := &metivav1.CollectedEvent{
		EventId: p.event.id[:], CompanyId: r.site.companyID, BrandId: r.site.brandID, SiteId: r.site.siteID,
		Type: metivav1.EventType_EVENT_TYPE_FORM, ReceivedAtMs: r.received.UnixMilli(), OccurredAtMs: occurredAtMs, ClientAtMs: p.event.atMs,
		Consent: decision.State(), ConsentSeq: decision.Sequence(), ConsentTextVersion: decision.TextVersion(), VisitKey: visit[:],
		Host: string(r.page.Host), Path: string(r.page.Path), ReferrerHost: string(mask.AppendReferrerHost(nil, p.event.referrer)),
		WriterId: r.c.writerID, RetentionDays: r.site.retentionDays,
		Detail: &metivav1.CollectedEvent_FormCapture{FormCapture: detail},
	}
	if visitor, known := decision.VisitorID(); known {
		m.VisitorId = visitor[:]
	}
	if len(r.page.Source)+len(r.page.Medium)+len(r.page.Campaign) > 0 {
		m.Campaign = &metivav1.Campaign{Source: string(r.page.Source), Medium: string(r.page.Medium), Name: string(r.page.Campaign)}
	}
	return m, p.sealVisitor(m, p.event.id)
}

// sealVisitor seals address and user agent into the event.
func (p *capture) sealVisitor(m *metivav1.CollectedEvent, id [schemas.IDBytes]byte) (err error) {
	r := p.r
	binding := seal.Binding{CompanyID: r.site.companyID, SiteID: r.site.siteID, EventID: id, Field: seal.FieldAddress}
	if m.SealedAddress, err = r.c.sealer.SealAddress(nil, binding, r.address); err != nil {
		return fmt.Errorf("sealing address: %w", err)
	}
	if len(r.userAgent) == 0 {
		return nil
	}
	binding.Field = seal.FieldUserAgent
	if m.SealedUserAgent, err = r.c.sealer.SealBytes(nil, binding, r.userAgent); err != nil {
		return fmt.Errorf("sealing user agent: %w", err)
	}
	return nil
}

// consentRecord says what the capture rests on. It holds no value of the form.
func (p *capture) consentRecord(d consent.Capture, recordID [schemas.IDBytes]byte) *metivav1.ConsentRecord {
	subject, text := d.SubjectID(), d.Text()
	return &metivav1.ConsentRecord{
		RecordId: recordID[:], CompanyId: p.r.site.companyID, SiteId: p.r.site.siteID, SubjectId: subject[:], Sequence: d.Sequence(),
		State: d.Decision().State(), Kind: metivav1.ConsentKind_CONSENT_KIND_GIVEN, Purposes: []string{consent.PurposeIdentification},
		TextVersion: text.Version, TextSha256: text.SHA256[:], Language: text.Language, Source: consentSourceForm,
		GivenAtMs: d.GivenAt().UnixMilli(), ExpiresAtMs: d.ExpiresAt().UnixMilli(), PolicyVersion: p.r.site.version,
		EvidenceEventId: append([]byte(nil), p.event.id[:]...),
	}
}

// consentSourceForm is the source of a record that rests on a form's own box.
const consentSourceForm = "form"

// eventKey is a key of one event: the first 16 bytes of HMAC-SHA256 over its
// purpose, the site and the event's id, under the salt.
func (h *visitHasher) eventKey(purpose byte, siteID string, id [schemas.IDBytes]byte) visitKey {
	m := h.pool.Get().(*visitMAC)
	defer h.pool.Put(m)
	m.hash.Reset()
	m.input = append(m.input[:0], purpose)
	m.input = binary.BigEndian.AppendUint32(m.input, uint32(len(siteID)))
	m.input = append(m.input, siteID...)
	m.input = append(m.input, id[:]...)
	m.hash.Write(m.input)
	return visitKey(m.hash.Sum(m.sum[:0])[:schemas.IDBytes])
}
