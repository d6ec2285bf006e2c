package collector

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// spoil overwrites all of a slice's memory.
func spoil(b []byte) {
	b = b[:cap(b)]
	for i := range b {
		b[i] = '#'
	}
}

// spoil overwrites what a work is made of.
func (w *work) spoil() {
	for _, b := range [][]byte{
		w.origin, w.inflated, w.page.Origin, w.page.Host, w.page.Path, w.page.Source, w.page.Medium, w.page.Campaign,
		w.event.address, w.event.userAgent, w.event.value, w.event.referrer, w.event.key[:], w.event.id[:], w.event.visitKey[:], w.event.visitorID[:],
	} {
		spoil(b)
	}
}

// TestNothingKeepsAViewOfARequest spoils the body and the headers of requests
// that wait for Kafka, and the works they gave back, and lets others use those.
func TestNothingKeepsAViewOfARequest(t *testing.T) {
	t.Parallel()
	const rounds, waiting = 5, 12
	e := newEdge(t, nil, noLimits)
	e.log.arrived = make(chan struct{}, waiting)
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	agents := map[string]string{} // by event id
	for round := range rounds {
		hold := make(chan struct{})
		e.log.hold = hold
		var wg sync.WaitGroup
		var requests []*fasthttp.RequestCtx
		var ids []string
		for n := range waiting {
			p := newPage(e)
			id, agent := p["id"].(string), fmt.Sprintf("%s request/%d-%d", testAgent, round, n)
			// An escape makes the scanner unescape into memory of its own.
			p = p.with("url", testOrigin+"/page/of-"+strings.ReplaceAll(agent[len(agent)-4:], " ", "-")+"?utm_source=source-"+fmt.Sprint(n)).with("referrer", fmt.Sprintf("https://r%d.example.com/\"", n))
			body, err := json.Marshal(e.bodyWithToken(e.token(1), p))
			if err != nil {
				t.Fatal(err)
			}
			body = []byte(strings.Replace(string(body), id, `\u0030`+id[1:], 1))
			ids, agents[id] = append(ids, id), agent
			ctx := &fasthttp.RequestCtx{}
			ctx.Init(&fasthttp.Request{}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, nil)
			h := &ctx.Request.Header
			h.SetMethod(fasthttp.MethodPost)
			ctx.Request.SetRequestURI(PathEvents)
			for name, value := range browserHeaders() {
				h.Set(name, value)
			}
			h.SetUserAgent(agent)
			ctx.Request.SetBodyRaw(body)
			requests = append(requests, ctx)
			wg.Go(func() { e.handle(ctx) })
		}
		for range waiting {
			<-e.log.arrived
		}
		for _, ctx := range requests {
			h := &ctx.Request.Header
			for _, b := range [][]byte{ctx.Request.Body(), h.UserAgent(), h.Peek("Origin"), h.Peek("X-Forwarded-For"), h.ContentType()} {
				spoil(b)
			}
		}
		for range 2 * waiting {
			w := e.works.Get().(*work)
			w.spoil()
			e.works.Put(w)
		}
		close(hold)
		wg.Wait()
		for i, ctx := range requests {
			if want := `{"results":[{"id":"` + ids[i] + `","outcome":"accepted"}]}`; string(ctx.Response.Body()) != want {
				t.Fatalf("answered %d %s, want %s", ctx.Response.StatusCode(), ctx.Response.Body(), want)
			}
			if got := string(ctx.Response.Header.Peek("Access-Control-Allow-Origin")); got != testOrigin {
				t.Errorf("the answer is for the origin %q", got)
			}
		}
	}
	events := e.log.events(t)
	if len(events) != rounds*waiting {
		t.Fatalf("%d events", len(events))
	}
	for _, ev := range events {
		id := uuid.UUID(ev.GetEventId()).String()
		network, agent := e.open(ev)
		if agent != agents[id] || network != "145.221.173.0/24" {
			t.Errorf("%s was sealed with %q of %s, want %q", id, agent, network, agents[id])
		}
		n := agent[strings.LastIndexByte(agent, '-')+1:]
		if ev.GetHost() != "www.example.nl" || ev.GetPath() != "/page/of-"+strings.ReplaceAll(agent[len(agent)-4:], " ", "-") || ev.GetReferrerHost() != "r"+n+".example.com" ||
			ev.GetCampaign().GetSource() != "source-"+n || ev.GetConsentTextVersion() != "nl-3" || ev.GetConsent() != metivav1.ConsentState_CONSENT_STATE_ANALYTICS {
			t.Errorf("%s has path %q, referrer %q, version %q", id, ev.GetPath(), ev.GetReferrerHost(), ev.GetConsentTextVersion())
		}
	}
	if _, err := e.ledger.publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantLedger(t, ledgerOf(t, e.log.of(schemas.TopicLedgerEdge)), map[string]uint64{testCompany + "/none": rounds * waiting})
}
