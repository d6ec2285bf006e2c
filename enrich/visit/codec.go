package visit

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/source"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// errJournal says nothing of what it read.
var errJournal = errors.New("visit: not a valid journal")

// textTable numbers the texts of a journal from 1 on.
type textTable struct {
	numbers map[string]uint32
	texts   []string
}

func (t *textTable) number(text string) uint32 {
	if text == "" {
		return 0
	}
	n, ok := t.numbers[text]
	if !ok {
		t.texts = append(t.texts, text)
		n = uint32(len(t.texts))
		t.numbers[text] = n
	}
	return n
}

// pack writes an open journal as the value of its record.
func (j *journal) pack() ([]byte, error) {
	texts := textTable{numbers: make(map[string]uint32, 16)}
	m := &metivav1.VisitJournal{
		CompanyId: j.who.CompanyID, BrandId: j.who.BrandID, SiteId: j.who.SiteID, Key: j.who.Key[:],
		ConsentSeq: j.consentSeq, AppliedOffset: j.applied, LastReceivedAtMs: j.lastReceivedMs, Rules: j.rules,
		Entries: make([]*metivav1.VisitEntry, len(j.entries)), Spans: make([]*metivav1.VisitSpan, len(j.spans)),
	}
	if j.who.IsVisitor {
		m.VisitorId = j.who.Key[:]
	}
	memory := make([]metivav1.VisitEntry, len(j.entries))
	for i := range j.entries {
		e := &j.entries[i]
		j.packEntry(&memory[i], e, &texts)
		memory[i].Resolution = resolutionNumber(m, e.Resolution)
		m.Entries[i] = &memory[i]
	}
	for i, sp := range j.spans {
		m.Spans[i] = &metivav1.VisitSpan{Entries: uint32(sp.n), Offset: sp.offset}
	}
	if j.foldedTo != nil {
		m.FoldedToMs, m.FoldedToId = j.foldedTo.atMs, j.foldedTo.id[:]
	}
	if b := j.folded; b != nil {
		m.Folded = proto.CloneOf(b.sum.v)
		m.Folded.FirstTouch, m.Folded.LastTouch = touchMessage(b.sum.touches.First), touchMessage(b.sum.touches.Last)
		m.FoldedVisibleToMs = b.tail.visibleToMs
		m.FoldedCampaign = &metivav1.Campaign{Source: b.tail.campaign.Source, Medium: b.tail.campaign.Medium, Name: b.tail.campaign.Name}
	}
	m.Texts = texts.texts
	out, err := schemas.Encode(nil, &metivav1.VisitState{Kind: &metivav1.VisitState_Journal{Journal: m}})
	if err != nil {
		return nil, fmt.Errorf("encoding a journal: %w", errJournal) // a text that is not UTF-8 would be quoted
	}
	return out, nil
}

func (j *journal) packEntry(m *metivav1.VisitEntry, e *Entry, t *textTable) {
	m.EventId, m.OccurredAtMs, m.ReceivedAfterMs, m.Offset = e.ID[:], e.AtMs, e.ReceivedMs-e.AtMs, e.Offset
	m.Type, m.Consent, m.Channel = e.Type, e.Consent, e.Channel
	m.Host, m.Path, m.ReferrerHost, m.TrafficSource = t.number(e.Host), t.number(e.Path), t.number(e.Referrer), t.number(e.Source)
	m.CampaignSource, m.CampaignMedium, m.CampaignName = t.number(e.Campaign.Source), t.number(e.Campaign.Medium), t.number(e.Campaign.Name)
	m.VisibleMs, m.ScrollPercent, m.Click, m.FormAction, m.Name = e.VisibleMs, e.ScrollPercent, e.Click, e.Form, t.number(e.Name)
	m.Device, m.BrowserFamily, m.SystemFamily = e.Device, t.number(e.Browser), t.number(e.System)
	m.Country, m.Region, m.RetentionDays = t.number(e.Country), t.number(e.Region), e.RetentionDays
	if e.VisitKey != j.who.Key {
		m.VisitKey = e.VisitKey[:]
	}
}

// resolutionNumber finds an equal resolution or adds it.
func resolutionNumber(m *metivav1.VisitJournal, r *metivav1.Resolution) uint32 {
	if r == nil {
		return 0
	}
	for i, known := range m.GetResolutions() {
		if known == r || sameResolution(known, r) {
			return uint32(i + 1)
		}
	}
	m.Resolutions = append(m.Resolutions, r)
	return uint32(len(m.GetResolutions()))
}

// sameResolution compares every field; a test holds that it does.
func sameResolution(a, b *metivav1.Resolution) bool {
	return a.GetVerdict() == b.GetVerdict() && a.GetAccountId() == b.GetAccountId() && a.GetName() == b.GetName() && a.GetDomain() == b.GetDomain() &&
		a.GetConfidence() == b.GetConfidence() && a.GetSource() == b.GetSource() && a.GetAsn() == b.GetAsn() &&
		a.GetPrefixBits() == b.GetPrefixBits() && a.GetDatabaseBuildMs() == b.GetDatabaseBuildMs() && a.GetConfirmation() == b.GetConfirmation()
}

// unpack reads the value of a journal's record. Nothing that it holds is trusted
// beyond its own length.
func unpack(value []byte) (*journal, error) {
	var state metivav1.VisitState
	if proto.Unmarshal(value, &state) != nil || state.GetJournal() == nil {
		return nil, errJournal
	}
	return journalOf(state.GetJournal())
}

func journalOf(m *metivav1.VisitJournal) (*journal, error) {
	if m.GetCompanyId() == "" || m.GetSiteId() == "" || len(m.GetKey()) != schemas.IDBytes || m.GetAppliedOffset() < 0 ||
		len(m.GetVisitorId()) != 0 && string(m.GetVisitorId()) != string(m.GetKey()) {
		return nil, errJournal
	}
	j := &journal{
		who: Identity{
			CompanyID: m.GetCompanyId(), BrandID: m.GetBrandId(), SiteID: m.GetSiteId(),
			Key: ID(m.GetKey()), IsVisitor: len(m.GetVisitorId()) > 0,
		},
		consentSeq: m.GetConsentSeq(), applied: m.GetAppliedOffset(), lastReceivedMs: m.GetLastReceivedAtMs(), rules: m.GetRules(),
		entries: make([]Entry, len(m.GetEntries())), tags: make([]uint64, len(m.GetEntries())), spans: make([]span, len(m.GetSpans())),
	}
	j.id = j.who.journalID()
	for i, e := range m.GetEntries() {
		if !j.unpackEntry(&j.entries[i], e, m) || i > 0 && !j.entries[i-1].before(&j.entries[i]) {
			return nil, errJournal
		}
		j.tags[i] = tag(&j.entries[i].ID)
	}
	if !j.unpackFolded(m) {
		return nil, errJournal
	}
	left := uint64(len(j.entries))
	for i, sp := range m.GetSpans() {
		n := uint64(sp.GetEntries())
		if n > left || n == 0 && (i > 0 || j.folded == nil) || sp.GetOffset() < 0 {
			return nil, errJournal
		}
		j.spans[i] = span{n: int(n), offset: sp.GetOffset()}
		left -= n
	}
	if left != 0 || j.folded != nil && len(j.spans) == 0 {
		return nil, errJournal
	}
	return j, nil
}

func (j *journal) unpackEntry(e *Entry, m *metivav1.VisitEntry, in *metivav1.VisitJournal) bool {
	if len(m.GetEventId()) != schemas.IDBytes || len(m.GetVisitKey()) != 0 && len(m.GetVisitKey()) != schemas.IDBytes ||
		m.GetOffset() < 0 || uint64(m.GetResolution()) > uint64(len(in.GetResolutions())) {
		return false
	}
	texts, valid := in.GetTexts(), true
	text := func(n uint32) string {
		switch {
		case n == 0:
			return ""
		case uint64(n) > uint64(len(texts)):
			valid = false
			return ""
		}
		return texts[n-1]
	}
	*e = Entry{
		ID: ID(m.GetEventId()), VisitKey: j.who.Key, AtMs: m.GetOccurredAtMs(), ReceivedMs: m.GetOccurredAtMs() + m.GetReceivedAfterMs(),
		Offset: m.GetOffset(), Type: m.GetType(), Consent: m.GetConsent(),
		Host: text(m.GetHost()), Path: text(m.GetPath()), Referrer: text(m.GetReferrerHost()), Channel: m.GetChannel(), Source: text(m.GetTrafficSource()),
		Campaign:  Campaign{text(m.GetCampaignSource()), text(m.GetCampaignMedium()), text(m.GetCampaignName())},
		VisibleMs: m.GetVisibleMs(), ScrollPercent: m.GetScrollPercent(), Click: m.GetClick(), Form: m.GetFormAction(), Name: text(m.GetName()),
		Device: m.GetDevice(), Browser: text(m.GetBrowserFamily()), System: text(m.GetSystemFamily()),
		Country: text(m.GetCountry()), Region: text(m.GetRegion()), RetentionDays: m.GetRetentionDays(),
	}
	if len(m.GetVisitKey()) > 0 {
		e.VisitKey = ID(m.GetVisitKey())
	}
	if n := m.GetResolution(); n > 0 {
		e.Resolution = in.GetResolutions()[n-1]
	}
	return valid
}

func (j *journal) unpackFolded(m *metivav1.VisitJournal) bool {
	if len(m.GetFoldedToId()) == 0 {
		return m.GetFolded() == nil
	}
	if len(m.GetFoldedToId()) != schemas.IDBytes {
		return false
	}
	j.foldedTo = &position{atMs: m.GetFoldedToMs(), id: ID(m.GetFoldedToId())}
	v := m.GetFolded()
	if v == nil {
		return true
	}
	if len(v.GetVisitId()) != schemas.IDBytes || len(v.GetVisitKey()) != schemas.IDBytes {
		return false
	}
	c := m.GetFoldedCampaign()
	j.folded = &base{
		tail: tail{
			visibleToMs: m.GetFoldedVisibleToMs(), viewed: v.GetPageViews() > 0,
			campaign: Campaign{c.GetSource(), c.GetMedium(), c.GetName()},
		},
		sum: sum{v: v, touches: source.Touches{First: touchOf(v.GetFirstTouch()), Last: touchOf(v.GetLastTouch())}},
	}
	v.FirstTouch, v.LastTouch = nil, nil
	return true
}

// open makes the entries of a packed journal usable under the site's rules.
func (j *journal) open(r *Rules) error {
	if j.packed == nil {
		return nil
	}
	full, err := unpack(j.packed)
	if err != nil {
		return err
	}
	j.packed = nil
	j.entries, j.tags, j.spans, j.rules = full.entries, full.tags, full.spans, full.rules
	j.folded, j.foldedTo = full.folded, full.foldedTo
	j.weigh()
	j.retail(r)
	return nil
}

// retail computes the tail anew, from the last span.
func (j *journal) retail(r *Rules) {
	if len(j.spans) == 0 {
		return
	}
	last := len(j.spans) - 1
	entries := j.entries[len(j.entries)-j.spans[last].n:]
	j.tail = tail{}
	if from := j.baseOf(last); from != nil {
		j.tail = from.tail
		j.tail.midnightMs = r.midnightAfter(from.sum.startedMs())
	} else {
		j.tail.first(r, &entries[0])
	}
	for i := range entries {
		j.tail.next(&entries[i])
	}
}

// close forgets what a packed journal does not need.
func (j *journal) close(packed []byte) {
	j.packed = packed
	j.entries, j.tags, j.spans, j.tail, j.folded, j.foldedTo = nil, nil, nil, tail{}, nil, nil
	j.textBytes = 0
}
