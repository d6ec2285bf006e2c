package visit

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/source"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// What a visit lists at most.
const (
	pagesMax       = 50
	formsMax       = 16
	customNamesMax = 32
)

// bounceEngagedMs: a visit of one page engaged this long is no bounce.
const bounceEngagedMs = 10_000

// Identity is whose visits they are.
type Identity struct {
	CompanyID, BrandID, SiteID string
	// Key is the visitor's id where there is a visitor, else the visit key.
	Key       ID
	IsVisitor bool
}

// Marks keep the two things that are hashed apart.
const (
	markJournal = 'j'
	markVisit   = 'v'
)

// hash is the first 16 bytes of the SHA-256 of a mark and the identity.
func (i *Identity) hash(mark byte, event *ID) ID {
	var memory [192]byte
	in := append(memory[:0], mark)
	for _, text := range [...]string{i.CompanyID, i.SiteID} {
		in = binary.BigEndian.AppendUint32(in, uint32(len(text)))
		in = append(in, text...)
	}
	kind := byte('k')
	if i.IsVisitor {
		kind = 'v'
	}
	in = append(in, kind)
	in = append(in, i.Key[:]...)
	if event != nil {
		in = append(in, event[:]...)
	}
	digest := sha256.Sum256(in)
	return ID(digest[:])
}

// journalID names the journal of an identity.
func (i *Identity) journalID() ID { return i.hash(markJournal, nil) }

// visitID names the visit that begins with an event.
func (i *Identity) visitID(first *ID) ID { return i.hash(markVisit, first) }

// sum is a visit under way: its message, whose bounce says only that nothing but
// page views and engagements came, and its touches.
type sum struct {
	v       *metivav1.Visit
	touches source.Touches
	in      *scratch // nil: each part has memory of its own
}

func (s *sum) startedMs() int64 { return s.v.GetStartedAtMs() }

func (s *sum) clone() sum { return sum{v: proto.CloneOf(s.v), touches: s.touches} }

// detached shares no text with the journal that it was made from, and is to be kept.
func (s *sum) detached() sum {
	out := sum{v: &metivav1.Visit{}, touches: s.touches}
	if b, err := proto.Marshal(s.v); err != nil || proto.Unmarshal(b, out.v) != nil {
		out.v = proto.CloneOf(s.v) // with a text that is not UTF-8, which is found when it is sent
	}
	for _, t := range []*source.Touch{&out.touches.First, &out.touches.Last} {
		for _, text := range []*string{&t.Source, &t.CampaignSource, &t.Medium, &t.Name, &t.Referrer} {
			*text = strings.Clone(*text)
		}
	}
	return out
}

// scratch is the memory of one visit, which is made, sent and forgotten.
type scratch struct {
	visit                 metivav1.Visit
	id, key, visitor      ID
	pages                 [pagesMax]metivav1.VisitPage
	listed                [pagesMax]*metivav1.VisitPage
	first, last           metivav1.VisitTouch
	firstNamed, lastNamed metivav1.Campaign
}

// begin starts a visit with its first event, which is then added like the others.
func begin(who *Identity, first *Entry, in *scratch) sum {
	s := sum{in: in}
	id, key := who.visitID(&first.ID), first.VisitKey
	if in == nil {
		s.v = &metivav1.Visit{VisitId: bytesOf(&id), VisitKey: bytesOf(&key)}
	} else {
		in.visit = metivav1.Visit{} // as Reset, but for what reflection sees to itself
		in.id, in.key = id, key
		s.v = &in.visit
		s.v.VisitId, s.v.VisitKey, s.v.Pages = in.id[:], in.key[:], in.listed[:0]
	}
	v := s.v
	v.CompanyId, v.BrandId, v.SiteId = who.CompanyID, who.BrandID, who.SiteID
	v.StartedAtMs, v.EndedAtMs = first.AtMs, first.AtMs
	v.EntryHost, v.EntryPath, v.ExitHost, v.ExitPath = first.Host, first.Path, first.Host, first.Path
	v.Consent, v.Resolution, v.Bounce = first.Consent, first.Resolution, true
	return s
}

func bytesOf(id *ID) []byte { return slices.Clone(id[:]) }

// add takes the next event in order.
func (s *sum) add(e *Entry) {
	v := s.v
	v.Events++
	v.EndedAtMs = max(v.GetEndedAtMs(), e.AtMs)
	v.Consent = min(v.GetConsent(), e.Consent)
	v.RetentionDays = max(v.GetRetentionDays(), e.RetentionDays)
	v.LastReceivedAtMs = max(v.GetLastReceivedAtMs(), e.ReceivedMs)
	v.Device = firstOf(v.GetDevice(), e.Device)
	v.BrowserFamily, v.SystemFamily = firstOf(v.GetBrowserFamily(), e.Browser), firstOf(v.GetSystemFamily(), e.System)
	v.Country, v.Region = firstOf(v.GetCountry(), e.Country), firstOf(v.GetRegion(), e.Region)
	if e.account() != "" {
		s.name(e.Resolution)
	}
	switch e.Type {
	case metivav1.EventType_EVENT_TYPE_PAGE_VIEW:
		s.addView(e)
	case metivav1.EventType_EVENT_TYPE_ENGAGEMENT:
		v.EngagedMs += uint64(e.VisibleMs)
		v.ScrollPercentMax = max(v.GetScrollPercentMax(), e.ScrollPercent)
		if p := s.page(e); p != nil {
			p.EngagedMs += uint64(e.VisibleMs)
			p.ScrollPercentMax = max(p.GetScrollPercentMax(), e.ScrollPercent)
		}
	default:
		v.Bounce = false
		s.addAction(e)
	}
}

// name takes a company in: the first, and what later confirms it.
func (s *sum) name(r *metivav1.Resolution) {
	known := s.v.GetResolution()
	switch accountOf(known) {
	case "":
		s.v.Resolution = r
	case r.GetAccountId():
		if known.GetConfirmation() == 0 && r.GetConfirmation() != 0 {
			s.v.Resolution = r
		}
	}
}

func firstOf[T comparable](known, next T) T {
	var none T
	if known == none {
		return next
	}
	return known
}

func accountOf(r *metivav1.Resolution) string {
	if r.GetVerdict() != metivav1.Verdict_VERDICT_COMPANY {
		return ""
	}
	return r.GetAccountId()
}

func (s *sum) addView(e *Entry) {
	v := s.v
	if v.GetPageViews() == 0 {
		v.EntryHost, v.EntryPath = e.Host, e.Path
	}
	v.PageViews++
	v.ExitHost, v.ExitPath = e.Host, e.Path
	if p := s.page(e); p != nil {
		p.Views++
	} else {
		v.PagesBeyond++
	}
	if e.Channel == metivav1.Channel_CHANNEL_UNSPECIFIED || e.Channel == metivav1.Channel_CHANNEL_INTERNAL {
		return
	}
	s.touches = s.touches.Add(source.Touch{
		AtMs: e.AtMs, EventID: e.ID, Channel: e.Channel, Source: e.Source,
		CampaignSource: e.Campaign.Source, Medium: e.Campaign.Medium, Name: e.Campaign.Name, Referrer: e.Referrer,
	})
}

// page is the entry of the event's page; nil when it is beyond those listed.
func (s *sum) page(e *Entry) *metivav1.VisitPage {
	for _, p := range s.v.GetPages() {
		if p.GetPath() == e.Path && p.GetHost() == e.Host {
			return p
		}
	}
	if len(s.v.GetPages()) == pagesMax {
		return nil
	}
	p := s.blankPage()
	p.Host, p.Path, p.FirstAtMs = e.Host, e.Path, e.AtMs
	s.v.Pages = append(s.v.Pages, p)
	return p
}

func (s *sum) blankPage() *metivav1.VisitPage {
	if s.in == nil {
		return &metivav1.VisitPage{}
	}
	p := &s.in.pages[len(s.v.GetPages())]
	p.Views, p.EngagedMs, p.ScrollPercentMax = 0, 0, 0
	return p
}

func (s *sum) addAction(e *Entry) {
	v := s.v
	switch e.Type {
	case metivav1.EventType_EVENT_TYPE_CLICK:
		if e.Click == metivav1.ClickKind_CLICK_KIND_DOWNLOAD {
			v.Downloads++
		} else {
			v.OutboundClicks++
		}
	case metivav1.EventType_EVENT_TYPE_FORM:
		if e.Form != metivav1.FormActionKind_FORM_ACTION_KIND_SUBMIT {
			v.FormsStarted++
			return
		}
		v.FormsSubmitted++
		v.Captured = v.GetCaptured() || e.Consent == metivav1.ConsentState_CONSENT_STATE_IDENTIFIED
		if len(v.GetSubmittedFormIds()) < formsMax && !slices.Contains(v.GetSubmittedFormIds(), e.Name) {
			v.SubmittedFormIds = append(v.SubmittedFormIds, e.Name)
		}
	case metivav1.EventType_EVENT_TYPE_CUSTOM:
		for _, c := range v.GetCustomEvents() {
			if c.GetName() == e.Name {
				c.Count++
				return
			}
		}
		if len(v.GetCustomEvents()) < customNamesMax {
			v.CustomEvents = append(v.CustomEvents, &metivav1.VisitCustomEvent{Name: e.Name, Count: 1})
		}
	default: // page views and engagements have their own
	}
}

// finish makes the message; the sum must not be used any more.
func (s *sum) finish(who *Identity, offset int64) *metivav1.Visit {
	v := s.v
	v.DurationMs = uint64(v.GetEndedAtMs() - v.GetStartedAtMs())
	v.Bounce = v.GetBounce() && v.GetPageViews() <= 1 && v.GetEngagedMs() < bounceEngagedMs
	if in := s.in; in == nil {
		v.FirstTouch, v.LastTouch = touchMessage(&s.touches.First), touchMessage(&s.touches.Last)
	} else {
		v.FirstTouch, v.LastTouch = setTouch(&in.first, &in.firstNamed, &s.touches.First), setTouch(&in.last, &in.lastNamed, &s.touches.Last)
	}
	switch {
	case !isConsented(v.GetConsent()):
		// A form may have been sent from a visit at company level: what its event may say
		// of the browser and the region is not for the rest of the visit.
		v.BrowserFamily, v.SystemFamily, v.Region = "", "", ""
	case who.IsVisitor && s.in != nil:
		s.in.visitor = who.Key
		v.VisitorId = s.in.visitor[:]
	case who.IsVisitor:
		v.VisitorId = bytesOf(&who.Key)
	}
	v.Version = versionOf(offset)
	return v
}

func isConsented(state metivav1.ConsentState) bool {
	return state == metivav1.ConsentState_CONSENT_STATE_ANALYTICS || state == metivav1.ConsentState_CONSENT_STATE_IDENTIFIED
}

// versionOf is the version of a visit that a record has changed.
func versionOf(offset int64) uint64 { return 2 * (uint64(offset) + 1) }

// endOf is the version of the removal of a visit that a record has ended: above that of
// every record before it, and below what the record itself makes.
func endOf(offset int64) uint64 { return 2*uint64(max(offset, 0)) + 1 }

func touchMessage(t *source.Touch) *metivav1.VisitTouch {
	return setTouch(&metivav1.VisitTouch{}, &metivav1.Campaign{}, t)
}

// setTouch writes a touch into a message; there is none of no touch.
func setTouch(m *metivav1.VisitTouch, c *metivav1.Campaign, t *source.Touch) *metivav1.VisitTouch {
	if t.Channel == metivav1.Channel_CHANNEL_UNSPECIFIED {
		return nil
	}
	m.Channel, m.TrafficSource, m.ReferrerHost, m.AtMs, m.Campaign = t.Channel, t.Source, t.Referrer, t.AtMs, nil
	if t.CampaignSource != "" || t.Medium != "" || t.Name != "" {
		c.Source, c.Medium, c.Name = t.CampaignSource, t.Medium, t.Name
		m.Campaign = c
	}
	return m
}

func touchOf(m *metivav1.VisitTouch) source.Touch {
	return source.Touch{
		AtMs: m.GetAtMs(), Channel: m.GetChannel(), Source: m.GetTrafficSource(), Referrer: m.GetReferrerHost(),
		CampaignSource: m.GetCampaign().GetSource(), Medium: m.GetCampaign().GetMedium(), Name: m.GetCampaign().GetName(),
	}
}
