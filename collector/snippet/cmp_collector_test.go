package snippet_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/consent/tcf"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// recorded is what of a consent record these tests look at.
type recorded struct {
	Kind        metivav1.ConsentKind
	Source      string
	Raw         string
	TextVersion string
}

// recordedAct is one thing that happens on the page, and the records that follow.
type recordedAct struct {
	do   string
	want []recorded
}

// records are the consent records a collector has made.
func (p *memoryProducer) records(t *testing.T) (out []recorded) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, value := range p.topics[schemas.TopicConsentRecords] {
		var rec metivav1.ConsentRecord
		must(t, proto.Unmarshal(value, &rec))
		out = append(out, recorded{rec.GetKind(), rec.GetSource(), rec.GetRawSignal(), rec.GetTextVersion()})
	}
	return out
}

// tcString is a string of consent/tcf's test vectors as if given today: strings are
// refused when they are old.
func tcString(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile("../../consent/tcf/testdata/vectors.json")
	must(t, err)
	var vectors []struct{ Name, Text string }
	must(t, json.Unmarshal(raw, &vectors))
	for _, v := range vectors {
		if v.Name != name {
			continue
		}
		core, rest, _ := strings.Cut(v.Text, ".")
		packed, err := base64.RawURLEncoding.DecodeString(core)
		must(t, err)
		// Created and LastUpdated: 36 bits each from bit 6, in tenths of a second, of
		// the day alone.
		today := time.Now().UTC().Truncate(24*time.Hour).UnixMilli() / 100
		for bit := range 36 {
			for _, at := range []int{6 + bit, 42 + bit} {
				packed[at/8] &^= 0x80 >> (at % 8)
				if today>>(35-bit)&1 == 1 {
					packed[at/8] |= 0x80 >> (at % 8)
				}
			}
		}
		text := base64.RawURLEncoding.EncodeToString(packed) + "." + rest
		if _, err := tcf.Decode(text); err != nil {
			t.Fatal(err)
		}
		return text
	}
	t.Fatalf("no vector %q", name)
	return ""
}

// TestPlatformsReachTheCollector: from the visitor's click in a platform's dialogue to
// the consent record a real collector makes, through the core and the adapters.
func TestPlatformsReachTheCollector(t *testing.T) {
	t.Parallel()
	needPackages(t)
	const (
		given     = metivav1.ConsentKind_CONSENT_KIND_GIVEN
		refused   = metivav1.ConsentKind_CONSENT_KIND_REFUSED
		withdrawn = metivav1.ConsentKind_CONSENT_KIND_WITHDRAWN
	)
	yes, no := tcString(t, "grant through both"), tcString(t, "refused")
	bot := func(yes int) string {
		return fmt.Sprintf("necessary=1,preferences=%d,statistics=%d,marketing=%d,method=explicit", yes, yes, yes)
	}
	for name, c := range map[string]struct {
		site    func(*metivav1.SiteRecord)
		tag     string
		scripts []string
		acts    []recordedAct
	}{
		"cookiebot": {
			site: func(s *metivav1.SiteRecord) { s.Cmp = "cookiebot" }, tag: `data-cmp="cookiebot" data-text-version="cb-7"`, scripts: []string{"cookiebot"},
			acts: []recordedAct{
				{`visit.cookiebot.accept()`, []recorded{{given, "cmp:cookiebot", bot(1), "cb-7"}}},
				{`visit.cookiebot.refuse()`, []recorded{{withdrawn, "cmp:cookiebot", bot(0), "cb-7"}}},
				{`visit.cookiebot.accept()`, []recorded{{given, "cmp:cookiebot", bot(1), "cb-7"}}},
			},
		},
		"a refusal": {
			site: func(s *metivav1.SiteRecord) { s.Cmp = "onetrust" }, tag: `data-cmp="onetrust" data-text-version="ot-1"`, scripts: []string{"onetrust"},
			acts: []recordedAct{
				{`visit.onetrust.refuse()`, []recorded{{refused, "cmp:onetrust", "C0001", "ot-1"}}},
				{`visit.onetrust.accept()`, []recorded{{given, "cmp:onetrust", "C0001,C0002,C0003,C0004", "ot-1"}}},
			},
		},
		"klaro": {
			site: func(s *metivav1.SiteRecord) { s.Cmp = "klaro" }, tag: `data-cmp="klaro" data-text-version="k-1"`, scripts: []string{klaroConfig("klaroConfig", ""), klaroScript},
			acts: []recordedAct{
				{click(klaroAccept), []recorded{{given, "cmp:klaro", "metiva=true", "k-1"}}},
				{`klaro.getManager().changeAll(false); klaro.getManager().saveAndApplyConsents()`, []recorded{{withdrawn, "cmp:klaro", "metiva=false", "k-1"}}},
			},
		},
		"a TC string": {
			site: func(s *metivav1.SiteRecord) { s.TcfVendor = 2 }, tag: `data-cmp="tcf"`,
			scripts: []string{options(fmt.Sprintf(`tcf: {strings: {accept: '%s', refuse: '%s'}, vendors: {2: true}}`, yes, no)), "tcf"},
			acts: []recordedAct{
				{`visit.tcf.refuse()`, []recorded{{refused, "tcf", no, "tcf-"}}},
				{`visit.tcf.accept()`, []recorded{{given, "tcf", yes, "tcf-"}}},
				{`visit.tcf.refuse()`, []recorded{{withdrawn, "", "", "tcf-"}}},
			},
		},
		"several": {
			site: func(s *metivav1.SiteRecord) { s.Cmp = "cookiebot" }, tag: `data-cmp="cookiebot" data-text-version="cb-7"`, scripts: []string{"cookiebot", "consentmode", "cookieyes"},
			acts: []recordedAct{
				{`visit.cookiebot.accept()`, []recorded{{given, "cmp:cookiebot", bot(1), "cb-7"}}},
				{`visit.consentmode.refuse()`, nil},
				{`visit.consentmode.accept()`, nil},
				{`visit.cookieyes.accept()`, nil},
				{`visit.cookieyes.refuse()`, []recorded{{withdrawn, "cmp:cookieyes", "necessary=1,functional=0,analytics=0,performance=0,advertisement=0,law=gdpr", "cb-7"}}},
				{`visit.cookiebot.refuse()`, nil},
			},
		},
		"a site that named none": {
			tag: `data-cmp="cookiebot" data-text-version="cb-7"`, scripts: []string{"cookiebot"},
			acts: []recordedAct{{`visit.cookiebot.accept()`, nil}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var address string
			mux := http.NewServeMux()
			mux.Handle("GET /doubles/", http.StripPrefix("/doubles/", http.FileServer(http.Dir("testdata/cmp"))))
			mux.Handle("GET /packages/", http.StripPrefix("/packages/", http.FileServer(http.Dir(packagesFolder()))))
			mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				_, _ = fmt.Fprintf(w, `<!doctype html><title>page</title><script async src="%s/v1/s.js" data-site="%s" %s></script><body>`, address, siteKey, c.tag)
				for _, script := range c.scripts {
					_, _ = io.WriteString(w, scriptElement(script))
				}
			})
			server := httptest.NewServer(mux)
			t.Cleanup(server.Close)
			if c.site == nil {
				c.site = func(*metivav1.SiteRecord) {}
			}
			var produced *memoryProducer
			address, produced = startCollector(t, server.URL, c.site)
			tab := newTab(t)
			// cmp.js has been there when the core has its command.
			run(t, tab, navigateBare(server.URL+"/"), until(`window.visitor && visitor.ready && visitor.ready.cmp`))
			var want []recorded
			for i, a := range c.acts {
				run(t, tab, js(a.do))
				want = append(want, a.want...)
				waittest.Until(t, waitMax, fmt.Sprintf("act %d: %d records", i, len(want)), func() bool { return produced.count(schemas.TopicConsentRecords) >= len(want) })
				// Whatever else the act causes is sent before this.
				views := produced.count(schemas.TopicEventsCollected)
				run(t, tab, js(fmt.Sprintf(`setTimeout(() => setTimeout(() => history.pushState(null, '', '/after-%d'))); void 0`, i)))
				waittest.Until(t, waitMax, "the view after the act", func() bool { return produced.count(schemas.TopicEventsCollected) > views })
				got := produced.records(t)
				if len(got) != len(want) {
					t.Fatalf("act %d, %s: records %+v, want %+v", i, a.do, got, want)
				}
				for j := range want {
					prefix := strings.HasPrefix(got[j].TextVersion, want[j].TextVersion)
					got[j].TextVersion = want[j].TextVersion
					if !prefix || got[j] != want[j] {
						t.Fatalf("act %d, %s: record %d %+v, want %+v", i, a.do, j, got[j], want[j])
					}
				}
			}
		})
	}
}
