package bench

import (
	cryptorand "crypto/rand"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	// enrichedCompanies visit the tenants' sites, each from a few networks.
	enrichedCompanies = 900
	// enrichedEventMs is how far apart two events are.
	enrichedEventMs = 7
	// recordsPerPartition of events.collected follow each other in the source.
	sourcePartitions = 16
)

// enrichedRows makes events as enrich leaves them: the pages, browsers and consents
// of the collector's load, with companies beside access providers. Which an event is
// depends on its number; ids, keys and ciphertext are random, as they are in truth.
type enrichedRows struct {
	source *rand.ChaCha8
	begin  time.Time
}

func newEnrichedRows(begin time.Time) *enrichedRows {
	var seed [32]byte
	_, _ = cryptorand.Read(seed[:]) // never fails (crypto/rand)
	return &enrichedRows{source: rand.NewChaCha8(seed), begin: begin}
}

// random are n bytes that do not compress.
func (m *enrichedRows) random(n int) []byte {
	b := make([]byte, n)
	_, _ = m.source.Read(b) // never fails
	return b
}

// below is a number under n.
func (m *enrichedRows) below(n uint64) int64 { return int64(m.source.Uint64() % n) }

// sealed is a blob as pkg/seal makes it: version and key id, which are the same for a
// tenant, a collector and a day, and then what is random.
func (m *enrichedRows) sealed(e *metivav1.EnrichedEvent) []byte {
	b := m.random(seal.SealedAddressBytes)
	day := int(e.GetReceivedAtMs() / (24 * time.Hour).Milliseconds())
	b[0] = 1
	copy(b[1:9], hashed(3, day*64+int(schemas.TenantBucket(e.GetCompanyId()+e.GetWriterId()))))
	return b
}

// hashed is the same 16 bytes for the same kind and number.
func hashed(kind, n int) []byte {
	s := idSource{state: uint64(kind)<<40 ^ uint64(n)*0x9e3779b97f4a7c15}
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, schemas.IDBytes), s.next())
	return binary.LittleEndian.AppendUint64(b, s.next())
}

// visitNumber spreads the events of a visit over its minutes: visits run beside each
// other, as they do on websites.
func visitNumber(n int) int { return n/(visitEvents*64)*64 + n%64 }

// event is the n-th event.
func (m *enrichedRows) event(n int) *metivav1.EnrichedEvent {
	visit := visitNumber(n)
	tenant := int(uint64(visit) * 2654435761 >> 7 % benchTenants)
	page := pageViews()[(n/64+visit*7)%len(pageViews())]
	at := m.begin.UnixMilli() + int64(n)*enrichedEventMs + m.below(enrichedEventMs)
	id := m.random(schemas.IDBytes)
	binary.BigEndian.PutUint64(id, uint64(at-35)<<16|uint64(binary.BigEndian.Uint16(id[6:]))&0xfff|0x7000)
	path, query, _ := strings.Cut(strings.TrimPrefix(page.page, origin), "?")
	path, _, _ = strings.Cut(path, "#")
	browser := visit % len(browsers())
	e := &metivav1.EnrichedEvent{
		EventId: id, CompanyId: tenantID(tenant), BrandId: brandID, SiteId: siteOf(tenant), Type: metivav1.EventType_EVENT_TYPE_PAGE_VIEW,
		ReceivedAtMs: at, OccurredAtMs: at - 20 - m.below(400), EnrichedAtMs: at + 12 + m.below(40),
		Consent: metivav1.ConsentState_CONSENT_STATE_DENIED, VisitKey: hashed(1, visit),
		Host: fmt.Sprintf("www.voorbeeld-%02d.nl", tenant), Path: path, ReferrerHost: hostOf(page.referrer),
		Device: metivav1.DeviceClass(1 + browser%3), BrowserFamily: families()[browser][0], SystemFamily: families()[browser][1],
		Bot: metivav1.BotClass_BOT_CLASS_NONE, Channel: metivav1.Channel_CHANNEL_DIRECT, Country: "NL",
		AcceptanceId: m.random(schemas.IDBytes),
		Source:       &metivav1.SourceRef{Partition: int32(tenant % sourcePartitions), Offset: int64(n / sourcePartitions)},
		WriterId:     fmt.Sprintf("collector-%d", 1+n%3), RetentionDays: retentionDays,
	}
	e.SealedAddress = m.sealed(e)
	if e.GetReferrerHost() != "" {
		e.Channel, e.TrafficSource = metivav1.Channel_CHANNEL_ORGANIC_SEARCH, e.GetReferrerHost()
	}
	if strings.Contains(query, "utm_source=") {
		e.Campaign = &metivav1.Campaign{Source: "nieuwsbrief", Medium: "email", Name: "najaar-2026"}
		e.Channel, e.TrafficSource = metivav1.Channel_CHANNEL_EMAIL, "nieuwsbrief"
	}
	if visit%11 == 0 {
		e.Country = [...]string{"BE", "DE", "FR", "GB", "US"}[visit/11%5]
	}
	e.Resolution = resolutionOf(visit, m.begin)
	if visit%2 == 1 {
		visitor := visit % 40_000 // some come back
		e.Consent, e.ConsentSeq = metivav1.ConsentState_CONSENT_STATE_ANALYTICS, uint64(m.begin.UnixMilli())+uint64(visitor)*977
		e.VisitorId, e.Region = hashed(2, visitor), "NL-ZH"
		enrichedDetail(e, n/64)
	}
	return e
}

func hostOf(address string) string {
	_, rest, _ := strings.Cut(address, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

// families are what the browsers of the load are called.
func families() [][2]string {
	return [][2]string{{"chrome", "windows"}, {"edge", "windows"}, {"safari", "ios"}, {"firefox", "linux"}, {"safari", "macos"}}
}

// resolutionOf is the verdict about a visit: three of ten are named companies.
func resolutionOf(visit int, begin time.Time) *metivav1.Resolution {
	company := int(uint64(visit)*0x9e3779b1>>9) % enrichedCompanies
	r := &metivav1.Resolution{
		Verdict: metivav1.Verdict_VERDICT_ISP, Source: "asn", Asn: uint32(1100 + company%37), PrefixBits: uint32(14 + company%9),
		DatabaseBuildMs: begin.Truncate(24 * time.Hour).UnixMilli(),
	}
	switch visit % 10 {
	case 0, 3, 7:
		r.Verdict, r.Confidence, r.Asn = metivav1.Verdict_VERDICT_COMPANY, 0.75, uint32(20_000+company*13)
		r.AccountId = fmt.Sprintf("bedrijf-%d.nl", company)
		r.Domain, r.Name = r.GetAccountId(), fmt.Sprintf("Bedrijf %d Installatietechniek B.V.", company)
	case 5:
		r.Verdict = metivav1.Verdict_VERDICT_MOBILE
	case 8:
		r.Verdict = metivav1.Verdict_VERDICT_HOSTING
	}
	return r
}

// enrichedDetail makes two of three events of a visitor who agreed another than a
// page view.
func enrichedDetail(e *metivav1.EnrichedEvent, n int) {
	switch n % 12 {
	case 1, 2, 4, 5, 7, 8:
		e.Type = metivav1.EventType_EVENT_TYPE_ENGAGEMENT
		e.Detail = &metivav1.EnrichedEvent_Engagement{Engagement: &metivav1.Engagement{VisibleMs: uint32(2000 + e.GetReceivedAtMs()%60_000), ScrollPercent: uint32(n % 101)}}
	case 10:
		e.Type = metivav1.EventType_EVENT_TYPE_CLICK
		e.Detail = &metivav1.EnrichedEvent_Click{Click: &metivav1.Click{Kind: metivav1.ClickKind_CLICK_KIND_DOWNLOAD, TargetHost: e.GetHost(), TargetPath: "/downloads/brochure.pdf"}}
	case 11:
		e.Type = metivav1.EventType_EVENT_TYPE_FORM
		e.Detail = &metivav1.EnrichedEvent_FormAction{FormAction: &metivav1.FormAction{Kind: metivav1.FormActionKind_FORM_ACTION_KIND_START, FormId: "contact"}}
	default:
		return
	}
	e.ReferrerHost, e.Campaign, e.Channel, e.TrafficSource = "", nil, metivav1.Channel_CHANNEL_UNSPECIFIED, ""
}
