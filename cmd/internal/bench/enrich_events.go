package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/verdict"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	// benchTenants are spread over the buckets, and so over the partitions.
	benchTenants = 48
	// visitEvents share a visit key.
	visitEvents = 6
	// botEvery and labelledEvery: of so many visits one is a crawler's, and one is
	// from the labelled set of addresses, where every verdict has its share.
	botEvery      = 20
	labelledEvery = 3
	// rareAgentEvery: of so many visits one has an agent that no other has.
	rareAgentEvery = 8
	crawlerAgent   = "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"
)

// recorder makes the events of a run: those of a small company's visitors, half of
// whom agreed to be measured. Which an event is depends on its number alone, all
// that is random in it are ids and nonces.
type recorder struct {
	sealer  *seal.Sealer
	labels  []verdict.Label
	scratch *seal.Scratch
	begin   time.Time
}

// recordEvents puts the sites and the events into Kafka, and keeps the first.
func (r *enrichRig) recordEvents(ctx context.Context, producer *kafka.Producer, sealer *seal.Sealer) error {
	labels, err := verdict.Labelled()
	if err != nil {
		return err
	}
	made := &recorder{sealer: sealer, labels: labels, scratch: seal.NewScratch(), begin: time.Now().Add(-time.Hour)}
	for tenant := range benchTenants {
		if err := sealer.Prepare(ctx, tenantID(tenant)); err != nil {
			return err
		}
		value, err := proto.Marshal(&metivav1.SiteRecord{
			CompanyId: tenantID(tenant), BrandId: brandID, SiteId: siteOf(tenant), SiteKeys: []string{siteKey}, AllowedOrigins: []string{origin},
			Mode: metivav1.SiteMode_SITE_MODE_COMPANY, RetentionDays: retentionDays, Active: true, Version: 1,
		})
		if err != nil {
			return fmt.Errorf("encoding a site: %w", err)
		}
		if err := producer.ProduceSync(ctx, schemas.TopicControlSites, 0, []byte(siteOf(tenant)), value); err != nil {
			return err
		}
	}
	var acks []*kafka.Ack
	for n := range r.cfg.Events {
		rec, err := made.record(n)
		if err != nil {
			return err
		}
		if len(r.records) < stepRecordsMax {
			r.records = append(r.records, rec)
		}
		ack, err := producer.Produce(rec.Topic, rec.Partition, rec.Key, rec.Value)
		if err != nil {
			return err
		}
		if acks = append(acks, ack); len(acks) < copyRecordsMax && n+1 < r.cfg.Events {
			continue
		}
		for _, ack := range acks {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-ack.Done():
			}
			if err := ack.Err(); err != nil {
				return err
			}
		}
		acks = acks[:0]
	}
	return nil
}

func tenantID(n int) string { return fmt.Sprintf("cmp_bench%016d", n) }
func siteOf(n int) string   { return fmt.Sprintf("sit_bench%016d", n) }

// record is the n-th record of events.collected.
func (m *recorder) record(n int) (kafka.Record, error) {
	e, err := m.event(n)
	if err != nil {
		return kafka.Record{}, err
	}
	value, err := schemas.Encode(nil, e)
	if err != nil {
		return kafka.Record{}, fmt.Errorf("encoding an event: %w", err)
	}
	key := append([]byte{schemas.TenantBucket(e.GetCompanyId())}, e.GetVisitKey()...)
	return kafka.Record{
		Topic: schemas.TopicEventsCollected, Partition: schemas.EventPartition(e.GetCompanyId(), e.GetVisitKey(), schemas.TenantBuckets),
		Offset: int64(n), Key: key, Value: value,
	}, nil
}

func (m *recorder) event(n int) (*metivav1.CollectedEvent, error) {
	visit := n / visitEvents
	tenant := visit % benchTenants
	page := pageViews()[n%len(pageViews())]
	at, err := url.Parse(origin + page.page)
	if err != nil {
		return nil, fmt.Errorf("reading a page view: %w", err)
	}
	now := m.begin.Add(time.Duration(n) * time.Millisecond).UnixMilli()
	e := &metivav1.CollectedEvent{
		EventId: benchID(n), CompanyId: tenantID(tenant), BrandId: brandID, SiteId: siteOf(tenant),
		Type: metivav1.EventType_EVENT_TYPE_PAGE_VIEW, ReceivedAtMs: now, OccurredAtMs: now - 20, ClientAtMs: now - 25,
		Consent: metivav1.ConsentState_CONSENT_STATE_DENIED, VisitKey: benchID(-visit - 1),
		Host: at.Hostname(), Path: at.Path, WriterId: "collector-1", RetentionDays: retentionDays,
	}
	if from, err := url.Parse(page.referrer); err == nil {
		e.ReferrerHost = from.Hostname()
	}
	if q := at.Query(); q.Has("utm_source") {
		e.Campaign = &metivav1.Campaign{Source: q.Get("utm_source"), Medium: q.Get("utm_medium"), Name: q.Get("utm_campaign")}
	}
	if visit%2 == 1 {
		e.Consent, e.ConsentSeq, e.ConsentTextVersion = metivav1.ConsentState_CONSENT_STATE_ANALYTICS, uint64(now), "2026-11"
		e.VisitorId = benchID(-visit - 1)
		withDetail(e, n)
	}
	return e, m.seal(e, visit)
}

// withDetail makes every second event of a visitor who agreed another than a page
// view: what was seen of a page, for the most part.
func withDetail(e *metivav1.CollectedEvent, n int) {
	switch n % 12 {
	case 1, 3, 5, 7:
		e.Type = metivav1.EventType_EVENT_TYPE_ENGAGEMENT
		e.Detail = &metivav1.CollectedEvent_Engagement{Engagement: &metivav1.Engagement{VisibleMs: uint32(2000 + n%60000), ScrollPercent: uint32(n % 101)}}
	case 9:
		e.Type = metivav1.EventType_EVENT_TYPE_CLICK
		e.Detail = &metivav1.CollectedEvent_Click{Click: &metivav1.Click{Kind: metivav1.ClickKind_CLICK_KIND_DOWNLOAD, TargetHost: e.GetHost(), TargetPath: "/downloads/brochure.pdf"}}
	case 11:
		e.Type = metivav1.EventType_EVENT_TYPE_FORM
		e.Detail = &metivav1.CollectedEvent_FormAction{FormAction: &metivav1.FormAction{Kind: metivav1.FormActionKind_FORM_ACTION_KIND_START, FormId: "contact"}}
	default:
		return
	}
	e.ReferrerHost, e.Campaign = "", nil
}

// seal seals the address and the agent of the visit, as a collector does.
func (m *recorder) seal(e *metivav1.CollectedEvent, visit int) error {
	agent := browsers()[visit%len(browsers())].agent
	switch {
	case visit%botEvery == 0:
		agent = crawlerAgent
	case visit%rareAgentEvery == 1:
		agent = fmt.Sprintf("Mozilla/5.0 (Linux; Android 15; SM-%d Build/AP3A) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36", visit)
	}
	addr := netip.Addr{}
	if visit%labelledEvery == 0 {
		addr = m.labels[visit/labelledEvery%len(m.labels)].Address
	} else {
		var err error
		if addr, err = netip.ParseAddr(network(visit)); err != nil {
			return fmt.Errorf("making an address: %w", err)
		}
	}
	b := seal.Binding{CompanyID: e.GetCompanyId(), SiteID: e.GetSiteId(), EventID: [schemas.IDBytes]byte(e.GetEventId())}
	var err error
	e.SealedAddress, e.SealedUserAgent, err = m.sealer.SealVisitor(nil, nil, b, seal.AddressOf(addr, m.scratch), []byte(agent))
	return err
}

// benchID is a random id; of numbers below zero, the same one for the same number.
func benchID(n int) []byte {
	id := make([]byte, schemas.IDBytes)
	if n >= 0 {
		_, _ = rand.Read(id) // never fails (crypto/rand)
		return id
	}
	s := idSource{state: uint64(-n)}
	for i := range id {
		id[i] = byte(s.next())
	}
	return id
}
