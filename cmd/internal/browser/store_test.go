package browser

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// settleMax bounds every wait for what is on its way to ClickHouse.
const settleMax = 30 * time.Second

// row is a row of the table events, as the tests compare it.
type row struct {
	ID, Type, Path, Consent     string
	Visitor, Visit              string // in hex; Visitor empty for none
	Referrer, Campaign, Company string
	Browser, Device, Bot        string
	EngagementMs, Scroll        uint32
	Detail                      string // what the type says, but for engagement
	Seq                         uint64
}

// String is type, path and consent, and what the type says.
func (r row) String() string {
	return strings.TrimSpace(r.Type + " " + r.Path + " " + r.Consent + " " + r.Detail)
}

// held is what the stores hold of one site.
type held struct {
	events []row             // by id, which is by time
	drops  []string          // "stage reason"
	edge   map[string]uint64 // events by reason; "none" counts the accepted
}

func (h held) received() (n uint64) {
	for _, count := range h.edge {
		n += count
	}
	return n
}

func (h held) list() []string {
	out := make([]string, 0, len(h.events)+len(h.drops))
	for _, r := range h.events {
		out = append(out, r.String())
	}
	for _, d := range h.drops {
		out = append(out, "dropped "+d)
	}
	slices.Sort(out)
	return out
}

// rows reads ClickHouse for all tests: one look serves all who wait.
type rows struct {
	conn *clickhouse.Conn

	mu     sync.Mutex
	looked time.Time
	sites  map[string]*held
	err    error
	// final is what each test has said its site holds in the end.
	final map[string][]string
}

// lookEvery is how old a look may be.
const lookEvery = 300 * time.Millisecond

const eventsSQL = `SELECT site_id, hex(event_id), type, path, consent, consent_seq,
	if(visitor_id = toFixedString('', 16), '', hex(visitor_id)), hex(visit_key), referrer_host,
	concat(campaign_source, '/', campaign_medium, '/', campaign_name), account_name, browser_family, device, bot,
	engagement_ms, toUInt32(scroll_percent),
	trim(concat(click_kind, ' ', click_host, click_path, ' ', form_action, ' ', form_id, ' ', custom_name, ' ',
		if(empty(custom_properties), '', toString(mapSort(custom_properties)))))
FROM events ORDER BY event_id`

// look returns what the stores hold of a site; nothing is merged, so that a row
// stored twice is seen twice.
func (r *rows) look(ctx context.Context, siteID string) (held, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.looked) > lookEvery {
		r.sites, r.err = r.read(ctx)
		r.looked = time.Now()
	}
	if h := r.sites[siteID]; h != nil {
		return *h, r.err
	}
	return held{}, r.err
}

func (r *rows) read(ctx context.Context) (map[string]*held, error) {
	sites := make(map[string]*held)
	of := func(id string) *held {
		if sites[id] == nil {
			sites[id] = &held{edge: make(map[string]uint64)}
		}
		return sites[id]
	}
	err := r.conn.Each(ctx, eventsSQL, func(scan func(...any) error) error {
		var site string
		var e row
		err := scan(&site, &e.ID, &e.Type, &e.Path, &e.Consent, &e.Seq, &e.Visitor, &e.Visit, &e.Referrer, &e.Campaign, &e.Company,
			&e.Browser, &e.Device, &e.Bot, &e.EngagementMs, &e.Scroll, &e.Detail)
		e.Detail = strings.Join(strings.Fields(e.Detail), " ")
		of(site).events = append(of(site).events, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := r.conn.Each(ctx, "SELECT site_id, concat(stage, ' ', reason) FROM drops", func(scan func(...any) error) error {
		var site, what string
		err := scan(&site, &what)
		of(site).drops = append(of(site).drops, what)
		return err
	}); err != nil {
		return nil, err
	}
	return sites, r.conn.Each(ctx, `SELECT site_id, reason, sum(n) FROM
	(SELECT site_id, minute, reason, writer_id, max(count) AS n FROM ledger_edge WHERE stage = 'collector' GROUP BY site_id, minute, reason, writer_id)
GROUP BY site_id, reason`, func(scan func(...any) error) error {
		var site, reason string
		var n uint64
		err := scan(&site, &reason, &n)
		of(site).edge[reason] += n
		return err
	})
}

// holds waits until the site's rows and drops are those wanted, each as row.String
// writes it, and everything that passed the proxy is accounted for. It returns the
// rows. What comes later is found after the last test.
func (s *site) holds(t *testing.T, want ...string) []row {
	t.Helper()
	slices.Sort(want)
	var last held
	var err error
	complaint := func() error {
		if last, err = shared.rows.look(t.Context(), s.ID); err != nil {
			return err
		}
		if got := last.list(); !slices.Equal(got, want) {
			return fmt.Errorf("ClickHouse holds\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
		sent, flying := s.edge.counts()
		accepted := uint64(len(last.events) + len(last.drops))
		if !s.unledgered && (flying > 0 || last.edge["none"] != accepted || last.received() != uint64(sent)) {
			return fmt.Errorf("the edge counts %v for %d events that passed, %d requests are under way, %d rows and drops", last.edge, sent, flying, accepted)
		}
		return nil
	}
	wait(t, settleMax, complaint)
	shared.rows.mu.Lock()
	defer shared.rows.mu.Unlock()
	shared.rows.final[s.ID] = want
	return last.events
}

// stored waits until ClickHouse holds n events of the site.
func (s *site) stored(t *testing.T, n int) {
	t.Helper()
	wait(t, settleMax, func() error {
		h, err := shared.rows.look(t.Context(), s.ID)
		if err == nil && len(h.events) < n {
			err = fmt.Errorf("ClickHouse holds %d events, want %d", len(h.events), n)
		}
		return err
	})
}

// edgeHolds waits until the collector has counted the events it refused, by reason.
func (s *site) edgeHolds(t *testing.T, reason string, n uint64) {
	t.Helper()
	wait(t, settleMax, func() error {
		h, err := shared.rows.look(t.Context(), s.ID)
		if err == nil && h.edge[reason] != n {
			err = fmt.Errorf("the edge counts %v, want %d of %s", h.edge, n, reason)
		}
		return err
	})
}

// askEvery spares the browser, which has other tests to run.
const askEvery = 25 * time.Millisecond

// wait asks again and again until there is no complaint, and fails with the last.
func wait(t *testing.T, limit time.Duration, complaint func() error) {
	t.Helper()
	var last error
	defer func() {
		if t.Failed() && last != nil {
			t.Log(last)
		}
	}()
	var asked time.Time
	waittest.Until(t, limit, "what the test waits for (see the log)", func() bool {
		if time.Since(asked) < askEvery {
			return false
		}
		last = complaint()
		asked = time.Now()
		return last == nil
	})
}

// afterAll compares what the stores hold with what each test has seen.
func (w *world) afterAll(ctx context.Context) (code int) {
	w.rows.mu.Lock()
	w.rows.looked = time.Time{}
	final := maps.Clone(w.rows.final)
	w.rows.mu.Unlock()
	for id, want := range final {
		got, err := w.rows.look(ctx, id)
		if err == nil && !slices.Equal(got.list(), want) {
			err = fmt.Errorf("after its test, site %s came to hold\n\t%s\nand not\n\t%s", id, strings.Join(got.list(), "\n\t"), strings.Join(want, "\n\t"))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

// topics is what the topics hold that ClickHouse does not.
type topics struct {
	opener *seal.Opener

	mu       sync.Mutex
	consents map[string][]*metivav1.ConsentRecord // by site
	captures map[string][]*metivav1.CollectedEvent
}

func newTopics(keysDir string) (*topics, error) {
	material, err := seal.ReadKeyFile(filepath.Join(keysDir, seal.KeyFileName(seal.PurposeResolverPrivate)), seal.PurposeResolverPrivate)
	if err != nil {
		return nil, err
	}
	private, err := material.PrivateKey()
	if err != nil {
		return nil, err
	}
	return &topics{
		opener:   seal.NewOpener(private),
		consents: make(map[string][]*metivav1.ConsentRecord), captures: make(map[string][]*metivav1.CollectedEvent),
	}, nil
}

// readers are the topics that are read, and what reads them.
func (l *topics) readers() map[string]func(key, value []byte) error {
	return map[string]func(key, value []byte) error{
		schemas.TopicControlKeys: func(key, value []byte) error {
			return l.opener.ApplyKey(bytes.Clone(key), bytes.Clone(value))
		},
		schemas.TopicConsentRecords: func(_, value []byte) error {
			rec, err := consent.ReadRecord(bytes.Clone(value))
			if err == nil {
				l.mu.Lock()
				l.consents[rec.GetSiteId()] = append(l.consents[rec.GetSiteId()], rec)
				l.mu.Unlock()
			}
			return err
		},
		schemas.TopicEventsCollected: func(_, value []byte) error {
			e := new(metivav1.CollectedEvent)
			if err := proto.Unmarshal(bytes.Clone(value), e); err != nil {
				return fmt.Errorf("reading a collected event: %w", err)
			}
			if e.GetFormCapture() != nil {
				l.mu.Lock()
				l.captures[e.GetSiteId()] = append(l.captures[e.GetSiteId()], e)
				l.mu.Unlock()
			}
			return nil
		},
	}
}

// consentsHold waits until the site's consent records are those wanted, in the
// order they were given: "kind state source text".
func (s *site) consentsHold(t *testing.T, want ...string) []*metivav1.ConsentRecord {
	t.Helper()
	var recs []*metivav1.ConsentRecord
	wait(t, settleMax, func() error {
		shared.log.mu.Lock()
		recs = slices.Clone(shared.log.consents[s.ID])
		shared.log.mu.Unlock()
		slices.SortStableFunc(recs, func(a, b *metivav1.ConsentRecord) int { return int(a.GetGivenAtMs() - b.GetGivenAtMs()) })
		// A call whose answer the page did not see comes again under the same id.
		seen := make(map[string]bool)
		recs = slices.DeleteFunc(recs, func(r *metivav1.ConsentRecord) bool {
			id := string(r.GetEvidenceEventId())
			again := id != "" && seen[id]
			seen[id] = true
			return again
		})
		got := make([]string, 0, len(recs))
		for _, r := range recs {
			text := schemas.Label(r.GetKind()) + " " + schemas.Label(r.GetState()) + " " + r.GetSource() + " " + r.GetTextVersion()
			got = append(got, strings.Join(strings.Fields(text), " "))
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("the consent records are %q, want %q", got, want)
		}
		return nil
	})
	return recs
}

// captureHolds waits for the site's only capture and opens its fields.
func (s *site) captureHolds(t *testing.T, want map[string]string) {
	t.Helper()
	wait(t, settleMax, func() error {
		shared.log.mu.Lock()
		captures := slices.Clone(shared.log.captures[s.ID])
		shared.log.mu.Unlock()
		if len(captures) != 1 {
			return fmt.Errorf("%d captures, want 1", len(captures))
		}
		got, err := shared.log.open(captures[0])
		if err == nil && !maps.Equal(got, want) {
			err = fmt.Errorf("the capture holds %q, want %q", got, want)
		}
		return err
	})
}

// noCapture fails when the site has a capture. Its event would be among the rows,
// so the test looks at those first.
func (s *site) noCapture(t *testing.T) {
	t.Helper()
	shared.log.mu.Lock()
	defer shared.log.mu.Unlock()
	if n := len(shared.log.captures[s.ID]); n != 0 {
		t.Errorf("%d captures, want none", n)
	}
}

func (l *topics) open(e *metivav1.CollectedEvent) (map[string]string, error) {
	c := e.GetFormCapture()
	if len(e.GetEventId()) != schemas.IDBytes || len(c.GetSubjectId()) != schemas.IDBytes {
		return nil, errors.New("a capture without ids")
	}
	binding := seal.Binding{
		CompanyID: e.GetCompanyId(), SiteID: e.GetSiteId(),
		EventID: [16]byte(e.GetEventId()), SubjectID: [16]byte(c.GetSubjectId()),
	}
	out := make(map[string]string)
	for name, sealed := range c.GetSealedFields() {
		binding.Field = seal.FormField(name)
		plain, err := l.opener.OpenField(nil, binding, sealed)
		if err != nil {
			return nil, err
		}
		out[name] = string(plain)
	}
	return out, nil
}

func hexID(id []byte) string { return strings.ToUpper(hex.EncodeToString(id)) }
