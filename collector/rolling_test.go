package collector

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
)

// slot is an address at which one collector follows another.
type slot struct {
	t    *testing.T
	log  *memoryLog
	addr string
	edge atomic.Pointer[edge]
}

// begin starts a collector at the slot's address.
func (s *slot) begin() {
	s.t.Helper()
	// Whoever starts a process again waits for its port, as systemd does.
	var lc net.ListenConfig
	addr := s.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := lc.Listen(s.t.Context(), "tcp4", addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	const plenty = eventsPerSecondMax
	e := newEdge(s.t, s.log, func(c *Config) {
		c.NetworkEventsPerSecond, c.SiteEventsPerSecond, c.TenantEventsPerMinute = plenty, plenty, plenty
		c.StopDelay = 6 * readinessEvery
	})
	e.log = s.log
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	e.url = "http://" + s.addr
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	go func() { e.ended <- e.Run(ctx, ln) }()
	s.edge.Store(e)
}

// ready is what the admin listener's /readyz says.
func (s *slot) ready() bool {
	e := s.edge.Load()
	e.ready.mu.Lock()
	defer e.ready.mu.Unlock()
	for _, name := range ReadinessNames() {
		if err, reported := e.ready.states[name]; !reported || err != nil {
			return false
		}
	}
	return true
}

// client sends events on one connection for as long as it may, and notes what was
// accepted.
type client struct {
	http     *http.Client
	query    string
	accepted []string
	wrong    []string
}

func (c *client) send(url string, at int64) {
	id := uuid.Must(uuid.NewV7()).String()
	body := fmt.Sprintf(`{"site":%q,"id":%q,"type":"page_view","at":%d,"url":"%s/a"}`, testKey, id, at, testOrigin)
	req, err := http.NewRequest(http.MethodPost, url+PathEvents+c.query, bytes.NewReader([]byte(body)))
	if err != nil {
		c.wrong = append(c.wrong, err.Error())
		return
	}
	for name, value := range browserHeaders() {
		req.Header.Set(name, value)
	}
	req.GetBody = nil // net/http would send it again by itself
	res, err := c.http.Do(req)
	if err != nil {
		c.wrong = append(c.wrong, err.Error())
		return
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if c.query != "" && err == nil && res.StatusCode == http.StatusNoContent {
		c.accepted = append(c.accepted, id)
		return
	}
	var answer answered
	if err == nil {
		err = json.Unmarshal(raw, &answer)
	}
	if err != nil || res.StatusCode != http.StatusOK || answer.outcomes() != "accepted" {
		c.wrong = append(c.wrong, fmt.Sprintf("%d %s %v", res.StatusCode, raw, err))
		return
	}
	c.accepted = append(c.accepted, id)
}

// TestRollingRestart: two collectors behind one address, each stopped and started
// twice, one after the other, while visitors send as fast as they can. No request
// fails, nothing is lost or doubled, and the ledger balances.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	log := &memoryLog{}
	slots := [2]*slot{{t: t, log: log}, {t: t, log: log}}
	var backends []*backend
	for _, s := range slots {
		s.begin()
		backends = append(backends, &backend{addr: s.addr, ready: s.ready})
	}
	b := startBalancer(t, backends...)
	untilSeen(t, func() bool { return backends[0].up.Load() && backends[1].up.Load() })

	const visitors = 24
	url, at := "http://"+b.ln.Addr().String(), slots[0].edge.Load().clock.Now().UnixMilli()
	done := make(chan struct{})
	clients := make([]*client, visitors)
	var sending sync.WaitGroup
	for i := range clients {
		c := &client{http: &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}}
		if clients[i] = c; i%2 == 0 {
			c.query = "?" + noResults // as the snippet does
		}
		sending.Go(func() {
			defer c.http.CloseIdleConnections()
			for {
				select {
				case <-done:
					return
				default:
					c.send(url, at)
				}
			}
		})
	}
	for range 2 {
		for i, s := range slots {
			// The other one has to be seen before this one goes.
			untilSeen(t, func() bool { return backends[1-i].up.Load() && backends[i].up.Load() })
			if err := s.edge.Load().stop(); err != nil {
				t.Error(err)
			}
			s.begin()
		}
	}
	untilSeen(t, func() bool { return backends[0].up.Load() && backends[1].up.Load() })
	close(done)
	sending.Wait()
	for _, s := range slots {
		if err := s.edge.Load().stop(); err != nil {
			t.Error(err)
		}
	}
	checkRolling(t, b, log, clients)
}

func checkRolling(t *testing.T, b *balancer, log *memoryLog, clients []*client) {
	t.Helper()
	written := map[string]int{}
	for _, ev := range log.events(t) {
		written[uuid.UUID(ev.GetEventId()).String()]++
	}
	accepted := 0
	for _, c := range clients {
		for _, wrong := range c.wrong {
			t.Errorf("a request failed: %s", wrong)
		}
		accepted += len(c.accepted)
		for _, id := range c.accepted {
			if written[id] != 1 {
				t.Errorf("an accepted event stands %d times on the topic", written[id])
			}
		}
	}
	if failed := b.failed.Load(); failed != 0 {
		t.Errorf("%d requests failed at the balancer", failed)
	}
	if len(written) != accepted {
		t.Errorf("%d events on the topic, %d accepted", len(written), accepted)
	}
	wantLedger(t, ledgerOf(t, log.of(schemas.TopicLedgerEdge)), map[string]uint64{testCompany + "/none": uint64(accepted)})
	// Else the test shows nothing: connections were kept, and ended by answers.
	if b.reused.Load() < int64(accepted)/2 || b.closing.Load() == 0 || accepted < 100 {
		t.Errorf("%d accepted, %d on kept connections, %d answers ended theirs", accepted, b.reused.Load(), b.closing.Load())
	}
	t.Logf("%d accepted, %d on kept connections, %d answers ended theirs", accepted, b.reused.Load(), b.closing.Load())
}

func untilSeen(t *testing.T, cond func() bool) {
	t.Helper()
	waittest.Until(t, 20*time.Second, "both collectors to be seen", cond)
}
