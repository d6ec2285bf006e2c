package browser

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"

	"github.com/metiva-io/metiva/cmd/internal/stack"
)

// push changes the page's address as an application does.
func (b *tab) push(path string) {
	b.t.Helper()
	b.js(`history.pushState(null, '', ` + quoted(path) + `)`)
}

// TestCollectorKilled kills the collector's process in the middle of a visit. It
// runs alone: the others share the collector.
func TestCollectorKilled(t *testing.T) {
	s := newSite(t)
	s.unledgered = true // the counts of its last second go with it
	b := newTab(t, s)
	b.open("/test/spa")
	b.sent(1)
	before := shared.stack.PID(stack.Collector)
	want := []string{"page_view /test/spa denied"}
	for i := range 12 {
		path := fmt.Sprintf("/test/spa/%d", i)
		want = append(want, "page_view "+path+" denied")
		b.push(path)
		b.pause(20 * time.Millisecond)
		if i == 4 {
			if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	wait(t, settleMax, func() error {
		if pid := shared.stack.PID(stack.Collector); pid == 0 || pid == before {
			return errors.New("the collector does not run again yet")
		}
		return nil
	})
	// What was stored and not answered came twice, and its repetition was dropped.
	s.holdsEvents(t, want...)
	b.leave()
}

func TestCollectorAway(t *testing.T) {
	s, b := visit(t)
	b.open("/test/spa")
	b.sent(1)
	s.edge.setDown(true)
	b.push("/test/spa/one")
	s.edge.untilRefused(t, 1)
	b.push("/test/spa/two")
	s.edge.setDown(false)
	b.sent(3)
	b.leave()
	s.holds(t, "page_view /test/spa denied", "page_view /test/spa/one denied", "page_view /test/spa/two denied")
}

func TestOffline(t *testing.T) {
	s, b := visit(t)
	b.open("/test/spa")
	b.sent(1)
	offline := func(is bool) {
		var rules []*network.Conditions
		if is {
			rules = append(rules, &network.Conditions{Offline: true, DownloadThroughput: -1, UploadThroughput: -1})
		}
		call(b, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{MatchedNetworkConditions: rules})
		call(b, network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: is, DownloadThroughput: -1, UploadThroughput: -1})
	}
	offline(true)
	b.until(`!navigator.onLine`)
	b.push("/test/spa/one")
	b.push("/test/spa/two")
	offline(false)
	b.sent(3)
	b.leave()
	s.holds(t, "page_view /test/spa denied", "page_view /test/spa/one denied", "page_view /test/spa/two denied")
}

// TestLostAnswer: the collector has the event and the browser does not know. It
// comes again under the same id and is counted once.
func TestLostAnswer(t *testing.T) {
	s, b := visit(t)
	b.open("/test/spa")
	b.sent(1)
	s.edge.setMute(true)
	b.push("/test/spa/one")
	b.sent(2)
	s.edge.setMute(false)
	b.sent(3)
	b.leave()
	// A page that is left before it has the answer sends once more.
	want := []string{"page_view /test/spa denied", "page_view /test/spa/one denied"}
	s.holdsEvents(t, want...)
	// The repetition is on its way behind the rows.
	wait(t, settleMax, func() error {
		h, err := shared.rows.look(t.Context(), s.ID)
		if err == nil && !slices.Contains(h.drops, "sink duplicate") {
			err = fmt.Errorf("dropped %q, want a duplicate", h.drops)
		}
		return err
	})
	s.holdsEvents(t, want...)
}

// TestBusyCollector: 503 and 429 are an invitation to come again later.
func TestBusyCollector(t *testing.T) {
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusTooManyRequests} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s, b := visit(t)
			var refused atomic.Int32
			began := time.Now()
			s.edge.replace(func(r *http.Request, _ []byte) (int, http.Header) {
				if r.Method != http.MethodPost || refused.Add(1) > 1 {
					return 0, nil
				}
				began = time.Now()
				return status, http.Header{
					"Retry-After": {"2"}, "Access-Control-Allow-Origin": {s.Origin}, "Access-Control-Expose-Headers": {"Retry-After"},
				}
			})
			b.open("/test/spa")
			b.sent(1)
			if took := time.Since(began); took < 2*time.Second {
				t.Errorf("came again after %s, and was asked to wait 2 s", took)
			}
			b.leave()
			s.holds(t, "page_view /test/spa denied")
		})
	}
}

// TestClosedWhileSending closes the page while one request is under way and others
// wait behind it.
func TestClosedWhileSending(t *testing.T) {
	s, b := visit(t)
	b.open("/test/long")
	b.sent(1)
	b.agree()
	held, release := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	s.edge.replace(func(r *http.Request, _ []byte) (int, http.Header) {
		if r.Method == http.MethodPost && first.CompareAndSwap(false, true) {
			close(held)
			<-release
		}
		return 0, nil
	})
	b.push("/test/long/one") // with the engagement of the page before it
	<-held
	b.push("/test/long/two")
	b.js(`visitor('event', 'opened')`)
	call(b, page.Close, cdp.Empty{})
	close(release)
	s.holds(t, "page_view /test/long denied", "engagement /test/long analytics",
		"page_view /test/long/one analytics", "engagement /test/long/one analytics",
		"page_view /test/long/two analytics", "engagement /test/long/two analytics", "custom /test/long/two analytics opened")
}

// TestUndelivered: what could not be delivered when the page went is kept for the
// next page under a grant, and lost without one.
func TestUndelivered(t *testing.T) {
	t.Parallel()
	for name, agrees := range map[string]bool{"with a grant": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			s, b := visit(t)
			b.beforeLoad(`{ const real = window.fetch; window.failed = 0; window.fetch = (...a) => real(...a).catch((e) => { failed++; throw e }) }`)
			b.open("/test/consent")
			b.sent(1)
			want := []string{"page_view /test/consent denied"}
			if agrees {
				b.agree()
				want = append(want, "engagement /test/consent analytics", "page_view /test/consent/lost analytics", "engagement /test/consent/lost analytics",
					"page_view /test/long analytics", "engagement /test/long analytics")
			} else {
				want = append(want, "page_view /test/long denied")
			}
			s.edge.setDown(true)
			b.push("/test/consent/lost")
			s.edge.untilRefused(t, 1)
			b.until(`window.failed > 0`) // the script has noticed
			if !agrees {
				b.nothingStored()
			}
			refused := s.edge.refusals()
			b.leave()
			s.edge.untilRefused(t, refused+1) // what was handed over on the way out
			s.edge.setDown(false)
			b.open("/test/long")
			b.sent(len(want) - 1)
			b.leave()
			// What the browser was given on the way out may arrive beside what was kept,
			// under the same ids: it counts once.
			if agrees {
				s.holdsEvents(t, want...)
				return
			}
			// What was lost may still come, from the memory of a page that lives on: once,
			// as it was, and nothing else.
			s.comesToHold(t, want, "page_view /test/consent/lost denied")
		})
	}
}

// comesToHold waits until ClickHouse has the events of the site, and besides them at
// most one more.
func (s *site) comesToHold(t *testing.T, want []string, perhaps string) {
	t.Helper()
	wait(t, settleMax, func() error {
		h, err := shared.rows.look(t.Context(), s.ID)
		if err != nil {
			return err
		}
		got := held{events: h.events}.list()
		if with := slices.Sorted(slices.Values(append(slices.Clone(want), perhaps))); !slices.Equal(got, slices.Sorted(slices.Values(want))) && !slices.Equal(got, with) {
			return fmt.Errorf("ClickHouse holds %q, want %q and perhaps %q", got, want, perhaps)
		}
		return nil
	})
}

// holdsEvents is holds for a visit in which something was killed, or sent twice:
// drops are not compared, and the edge's counts are not.
func (s *site) holdsEvents(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	var last held
	wait(t, settleMax, func() error {
		var err error
		if last, err = shared.rows.look(t.Context(), s.ID); err != nil {
			return err
		}
		if got := (held{events: last.events}).list(); !slices.Equal(got, want) {
			return fmt.Errorf("ClickHouse holds %q, want %q", got, want)
		}
		return nil
	})
	t.Logf("dropped: %q", last.drops)
	for _, d := range last.drops {
		// Sent again by the browser, or by the collector from its spool.
		if d != "sink duplicate" && d != "sink replayed" {
			t.Errorf("dropped: %s", d)
		}
	}
}
