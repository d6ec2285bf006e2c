package snippet_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/collector"
	"github.com/metiva-io/metiva/collector/snippet"
	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// memoryProducer acknowledges everything and keeps it.
type memoryProducer struct {
	mu     sync.Mutex
	topics map[string][][]byte
}

type acknowledged struct{ done chan struct{} }

func (a acknowledged) Done() <-chan struct{} { return a.done }
func (acknowledged) Err() error              { return nil }

func (p *memoryProducer) Produce(topic string, _ int, _, value []byte) (collector.Ack, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.topics[topic] = append(p.topics[topic], bytes.Clone(value))
	a := acknowledged{make(chan struct{})}
	close(a.done)
	return a, nil
}

func (p *memoryProducer) ProduceSync(_ context.Context, topic string, partition int, key, value []byte) error {
	_, err := p.Produce(topic, partition, key, value)
	return err
}

func (p *memoryProducer) count(topic string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.topics[topic])
}

type unwatched struct{}

func (unwatched) Set(string, error) {}

// startCollector runs a real collector whose site is at origin, registered as the
// changes say, and returns its address and what it produces.
func startCollector(t *testing.T, origin string, changes ...func(*metivav1.SiteRecord)) (address string, produced *memoryProducer) {
	t.Helper()
	dir := t.TempDir()
	must(t, seal.GenerateDevelopmentKeys(dir))
	key := func(purpose string) seal.KeyMaterial {
		m, err := seal.ReadKeyFile(filepath.Join(dir, seal.KeyFileName(purpose)), purpose)
		must(t, err)
		return m
	}
	resolver, err := key(seal.PurposeResolverPublic).PublicKey()
	must(t, err)
	edgeKey, err := key(seal.PurposeEdgePrivate).PrivateKey()
	must(t, err)
	tokens, err := consent.NewTokens(key(seal.PurposeConsentToken).Secret())
	must(t, err)
	produced = &memoryProducer{topics: map[string][][]byte{}}
	c, err := collector.New(collector.Config{}, collector.Deps{
		Producer: produced, Ping: func(context.Context) error { return nil }, ResolverKey: resolver, EdgeKey: edgeKey, Tokens: tokens, Snippet: snippet.Script(), Adapters: snippet.Adapters(), Banner: snippet.Banner(),
		Readiness: unwatched{}, Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), Now: time.Now,
	})
	must(t, err)
	registered := &metivav1.SiteRecord{
		CompanyId: "cmp_a", SiteId: "sit_a", SiteKeys: []string{siteKey}, AllowedOrigins: []string{origin}, Mode: metivav1.SiteMode_SITE_MODE_COMPANY, Active: true,
		Texts: []*metivav1.ConsentText{{Version: "form-1", Language: "nl", Sha256: make([]byte, 32)}},
		Forms: []*metivav1.FormPolicy{{
			FormId: "contact", Fields: []*metivav1.FormField{{Name: "email", Kind: metivav1.FieldKind_FIELD_KIND_EMAIL, Required: true}, {Name: "message", Kind: metivav1.FieldKind_FIELD_KIND_TEXT}},
			TextVersions: []string{"form-1"}, RedirectUrls: []string{origin + "/bedankt"},
		}},
	}
	for _, change := range changes {
		change(registered)
	}
	site, err := proto.Marshal(registered)
	must(t, err)
	must(t, c.ApplySite([]byte("sit_a"), site))
	c.CaughtUp()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, ln) }()
	t.Cleanup(func() { cancel(); must(t, <-ended) })
	return "http://" + ln.Addr().String(), produced
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// formSite is a website with a form and the page it comes back to.
type formSite struct {
	*httptest.Server
	back     chan string // queries with which the visitor came back
	produced *memoryProducer
}

func newFormSite(t *testing.T) *formSite {
	t.Helper()
	s := &formSite{back: make(chan string, 10)}
	var action string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /contact", func(w http.ResponseWriter, r *http.Request) {
		redirect := ""
		if r.URL.Query().Get("back") != "" {
			redirect = `<input type="hidden" name="metiva_redirect" value="` + s.URL + `/bedankt">`
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, `<!doctype html><title>contact</title><form method="post" action="%s/v1/captures">
<input type="hidden" name="metiva_site" value="%s"><input type="hidden" name="metiva_form" value="contact"><input type="hidden" name="metiva_text_version" value="form-1">%s
<input id="email" name="email"><textarea id="message" name="message"></textarea><input name="password" value="x">
<input id="box" type="checkbox" name="metiva_consent"><button id="send">Verstuur</button></form><script>document.title = 'script ran'</script>`, action, siteKey, redirect)
	})
	mux.HandleFunc("GET /bedankt", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!doctype html><title>bedankt</title><h1>Bij ons</h1>")
		s.back <- r.URL.RawQuery
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	action, s.produced = startCollector(t, s.URL)
	return s
}

// TestFormWithoutScript: a browser that runs no script sends a form to the
// collector and is back on its site; without an address to go back to it sees
// the collector's page.
func TestFormWithoutScript(t *testing.T) {
	t.Parallel()
	s, tab := newFormSite(t), newTab(t)
	fill := func(query string, box bool) {
		t.Helper()
		run(t, tab, navigateBare(s.URL+"/contact"+query), chromedp.SendKeys("#email", "jan@example.nl"), chromedp.SendKeys("#message", "Grüße & meer"))
		if box {
			run(t, tab, chromedp.Click("#box"))
		}
		run(t, tab, chromedp.Click("#send"))
	}
	run(t, tab, call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}, nil))
	for i, box := range []bool{true, false, true} {
		fill("?back=1", box)
		select {
		case query := <-s.back:
			if query != "" {
				t.Errorf("came back with %q", query)
			}
		case <-time.After(waitMax):
			t.Fatal("the visitor does not come back")
		}
		run(t, tab, chromedp.WaitVisible("h1")) // the page is there
		want := []int{1, 1, 2}[i]
		for _, topic := range []string{schemas.TopicConsentRecords, schemas.TopicEventsCollected} {
			if n := s.produced.count(topic); n != want {
				t.Errorf("form %d: %d records on %s, want %d", i+1, n, topic, want)
			}
		}
	}
	for _, c := range []struct {
		box   bool
		title string
	}{{true, "Bedankt"}, {false, "Niet bewaard"}} {
		fill("", c.box)
		// The page's policy lets nothing of chromedp's wait in it.
		var title, width string
		waittest.Until(t, waitMax, "the collector's page", func() bool {
			ctx, cancel := context.WithTimeout(tab, waitMax)
			defer cancel()
			err := chromedp.Do(ctx, jsInto(`document.title`, &title), jsInto(`document.querySelector('main') ? getComputedStyle(document.querySelector('main')).maxWidth : ''`, &width))
			return err == nil && title != "contact" && title != ""
		})
		// The style holds under the page's own policy.
		if title != c.title && title != map[string]string{"Bedankt": "Thank you", "Niet bewaard": "Not kept"}[c.title] || width != "576px" {
			t.Errorf("the page says %q, styled %q", title, width)
		}
	}
}
