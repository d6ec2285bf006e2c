package registry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

func TestASiteIsPublishedAndFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, site := w.tenantWithSite("Alpha")
	p := w.publisher()
	w.flush(p)
	rec := w.topics.site(t, site.ID)
	if rec.GetCompanyId() != claim.CompanyID() || rec.GetBrandId() != site.BrandID || rec.GetSiteId() != site.ID ||
		len(rec.GetSiteKeys()) != 1 || rec.GetSiteKeys()[0] != site.Keys[0].Key || !rec.GetActive() || !rec.GetHonourDnt() ||
		rec.GetMode() != metivav1.SiteMode_SITE_MODE_COMPANY || rec.GetRetentionDays() != 395 || rec.GetVersion() != 1 ||
		!slices.Equal(rec.GetAllowedOrigins(), site.AllowedOrigins) {
		t.Errorf("record: %v", rec)
	}
	if _, err := w.store.SuspendSite(t.Context(), claim, site.ID); err != nil {
		t.Fatal(err)
	}
	w.flush(p)
	if rec = w.topics.site(t, site.ID); rec.GetActive() || rec.GetVersion() != 2 {
		t.Errorf("suspended: %v", rec)
	}
	if _, err := w.store.ResumeSite(t.Context(), claim, site.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.store.SuspendTenant(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	if err := w.store.SuspendTenant(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	w.flush(p)
	if rec = w.topics.site(t, site.ID); rec.GetActive() || rec.GetVersion() != 4 {
		t.Errorf("of a suspended tenant: %v", rec)
	}
	if err := w.store.ResumeTenant(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	w.flush(p)
	if rec = w.topics.site(t, site.ID); !rec.GetActive() || rec.GetVersion() != 5 {
		t.Errorf("resumed: %v", rec)
	}
	sent := len(w.topics.all(schemas.TopicControlSites))
	w.flush(p)
	if again := len(w.topics.all(schemas.TopicControlSites)); again != sent {
		t.Errorf("%d records were sent twice", again-sent)
	}
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, site := w.tenantWithSite("Alpha")
	p := w.publisher()
	first := site.Keys[0].Key
	site, err := w.store.RotateSiteKey(t.Context(), claim, site.ID, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	second := site.Keys[0].Key
	if len(site.Keys) != 2 || second == first || site.Keys[1].Key != first || site.Keys[1].RetiresAt.IsZero() {
		t.Fatalf("after a rotation: %+v", site.Keys)
	}
	w.flush(p)
	if got := w.topics.site(t, site.ID).GetSiteKeys(); !slices.Equal(got, []string{second, first}) {
		t.Errorf("published keys: %v", got)
	}
	// A second rotation ends the first key at once: two are valid at most.
	if site, err = w.store.RotateSiteKey(t.Context(), claim, site.ID, time.Hour); err != nil {
		t.Fatal(err)
	}
	if len(site.Keys) != 2 || site.Keys[1].Key != second {
		t.Fatalf("after two rotations: %+v", site.Keys)
	}
	// The overlap passes: the schedule publishes the site without the old key.
	if err := postgres.Administer(t.Context(), w.db.AdminURL(), `UPDATE core.site_keys SET retires_at = now() WHERE retires_at IS NOT NULL`); err != nil {
		t.Fatal(err)
	}
	w.flush(p)
	rec := w.topics.site(t, site.ID)
	if !slices.Equal(rec.GetSiteKeys(), []string{site.Keys[0].Key}) || rec.GetVersion() != 4 {
		t.Errorf("after the overlap: %v", rec)
	}
	if site, err = w.store.RotateSiteKey(t.Context(), claim, site.ID, 0); err != nil || len(site.Keys) != 1 {
		t.Errorf("without an overlap: %+v, %v", site.Keys, err)
	}
}

// TestOutboxSurvivesFailuresInOrder: Kafka refuses at every position in turn
// and several publishers run at once. Every record arrives, and the versions
// of each site arrive in order, apart from whole batches sent again.
func TestOutboxSurvivesFailuresInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, site := w.tenantWithSite("Alpha")
	for range 20 {
		if _, err := w.store.SuspendSite(t.Context(), claim, site.ID); err != nil {
			t.Fatal(err)
		}
	}
	refused := map[int]bool{}
	w.topics.refuse = func(n int) error {
		if !refused[n] {
			refused[n] = true
			return errDown
		}
		return nil
	}
	p := w.publisher()
	for round := 0; ; round++ {
		if round > 200 {
			t.Fatal("no end")
		}
		if p.Flush(t.Context()) == nil {
			break
		}
	}
	last := w.topics.lastInOrder(t, site.ID)
	if last != 21 {
		t.Errorf("the last version is %d", last)
	}
}

// TestACrashBetweenAcknowledgementAndCommitSendsAgain: the connection is cut
// after Kafka took the record, so the mark is lost.
func TestACrashBetweenAcknowledgementAndCommitSendsAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, site := w.tenantWithSite("Alpha")
	cut := false
	w.topics.refuse = func(n int) error {
		if n == 0 || cut {
			return nil
		}
		cut = true
		return postgres.Administer(context.Background(), w.db.AdminURL(),
			`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app_worker' AND datname = current_database()`)
	}
	claim := w.claim(site.CompanyID)
	if _, err := w.store.SuspendSite(t.Context(), claim, site.ID); err != nil {
		t.Fatal(err)
	}
	p := w.publisher()
	if err := p.Flush(t.Context()); err == nil || !cut {
		t.Fatalf("the connection was not cut: %v", err)
	}
	w.flush(p)
	var versions []string
	for _, r := range w.topics.all(schemas.TopicControlSites) {
		rec := &metivav1.SiteRecord{}
		if err := proto.Unmarshal(r.value, rec); err != nil {
			t.Fatal(err)
		}
		versions = append(versions, fmt.Sprint(rec.GetVersion()))
	}
	if got := strings.Join(versions, " "); got != "1 2 1 2" {
		t.Errorf("versions: %s", got)
	}
	if w.topics.site(t, site.ID).GetActive() {
		t.Error("the last record is not the newest")
	}
}

// TestSeveralPublishersRunPromptly: two publishers, writers at the same time;
// a change arrives by notification, long before the next poll.
func TestSeveralPublishersRunPromptly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, site := w.tenantWithSite("Alpha")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		p, err := registry.NewPublisher(registry.PublisherConfig{
			Pool: w.pool, Worker: w.worker, Kafka: w.topics, Edge: w.edge.Public(),
			Log: slog.New(slog.DiscardHandler), PollEvery: time.Minute,
		})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := p.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	version := func() uint64 {
		rec := &metivav1.SiteRecord{}
		_ = proto.Unmarshal(w.topics.table(schemas.TopicControlSites)[site.ID], rec)
		return rec.GetVersion()
	}
	waittest.Until(t, 10*time.Second, "the first record", func() bool { return version() == 1 })
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for range 5 {
				if _, err := w.store.SuspendSite(t.Context(), claim, site.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	waittest.Until(t, 10*time.Second, "all changes", func() bool { return version() == 21 })
	began := time.Now()
	if _, err := w.store.ResumeSite(t.Context(), claim, site.ID); err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, 10*time.Second, "one more change", func() bool { return version() == 22 })
	t.Logf("change to topic: %s", time.Since(began).Round(time.Millisecond))
	// A new tenant's salts come at once, too.
	other, _ := w.tenantWithSite("Beta")
	waittest.Until(t, 10*time.Second, "the new tenant's salts", func() bool {
		n := 0
		for key := range w.topics.table(schemas.TopicControlKeys) {
			if strings.HasPrefix(key, "salt/"+other.CompanyID()) {
				n++
			}
		}
		return n == 3
	})
	cancel()
	wg.Wait()
	if last := w.topics.lastInOrder(t, site.ID); last != 22 {
		t.Errorf("the last version is %d", last)
	}
}

func TestRepublishFillsAnEmptiedTopicOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, kept := w.tenantWithSite("Alpha")
	lostClaim, lost := w.tenantWithSite("Beta")
	if _, err := w.store.SuspendSite(t.Context(), lostClaim, lost.ID); err != nil {
		t.Fatal(err)
	}
	p := w.publisher()
	w.flush(p)
	present := func(topic string, key []byte) bool {
		_, ok := w.topics.table(topic)[string(key)]
		return ok
	}
	if n, err := p.Republish(t.Context(), present); n != 0 || err != nil {
		t.Fatalf("nothing is missing: %d, %v", n, err)
	}
	before := w.topics.table(schemas.TopicControlKeys)
	w.topics.mu.Lock()
	w.topics.log = slices.DeleteFunc(w.topics.log, func(r record) bool {
		return string(r.key) == lost.ID || strings.HasPrefix(string(r.key), "salt/"+lost.CompanyID)
	})
	w.topics.mu.Unlock()
	if n, err := p.Republish(t.Context(), present); n != 4 || err != nil {
		t.Fatalf("one site and three salts are missing: %d, %v", n, err)
	}
	w.flush(p)
	if rec := w.topics.site(t, lost.ID); rec.GetActive() || rec.GetVersion() != 2 {
		t.Errorf("the lost site: %v", rec)
	}
	after := w.topics.table(schemas.TopicControlKeys)
	if len(after) != len(before) {
		t.Errorf("%d salts, before %d", len(after), len(before))
	}
	for key, value := range after {
		if same := slices.Equal(value, before[key]); same == strings.Contains(key, lost.CompanyID) {
			t.Errorf("%s unchanged: %v", key, same)
		}
	}
	if n, err := p.Republish(t.Context(), present); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
	w.topics.mu.Lock()
	w.topics.log = nil
	w.topics.mu.Unlock()
	if _, err := p.Republish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	w.flush(p)
	if w.topics.site(t, kept.ID).GetCompanyId() != claim.CompanyID() || len(w.topics.table(schemas.TopicControlKeys)) != len(before) {
		t.Error("an empty Kafka was not filled")
	}
}

// TestALostConnectionAndOldRecords: every connection of the worker is cut while
// the publisher runs; it listens again. At its start it purged what was
// superseded long ago, and kept the newest record.
// TestEachRoundIsReported: a publisher that cannot publish is not ready, and is
// ready again once it can.
func TestEachRoundIsReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tenantWithSite("Alpha")
	var down atomic.Bool
	down.Store(true)
	w.topics.refuse = func(int) error {
		if down.Load() {
			return errDown
		}
		return nil
	}
	reports := make(chan error, 100)
	p := w.reporting(func(err error) {
		select {
		case reports <- err:
		default:
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	if err := <-reports; !errors.Is(err, errDown) {
		t.Errorf("while Kafka is down: %v", err)
	}
	down.Store(false)
	waittest.Until(t, 10*time.Second, "a round without a fault", func() bool {
		select {
		case err := <-reports:
			return err == nil
		default:
			return false
		}
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestALostConnectionAndOldRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, site := w.tenantWithSite("Alpha")
	if _, err := w.store.SuspendSite(t.Context(), claim, site.ID); err != nil {
		t.Fatal(err)
	}
	w.flush(w.publisher())
	if err := postgres.Administer(t.Context(), w.db.AdminURL(), `UPDATE core.outbox SET done_at = now() - interval '2 days'`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.publisher().Run(ctx) }()
	waittest.Until(t, 10*time.Second, "the purge", func() bool {
		return postgres.Administer(t.Context(), w.db.AdminURL(),
			`DO $$ BEGIN IF (SELECT count(*) FROM core.outbox) <> 1 THEN RAISE EXCEPTION 'not one'; END IF; END $$`) == nil
	})
	if err := postgres.Administer(t.Context(), w.db.AdminURL(),
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app_worker' AND datname = current_database()`); err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.ResumeSite(t.Context(), claim, site.ID); err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, 10*time.Second, "the change after the cut", func() bool { return w.topics.site(t, site.ID).GetVersion() == 3 })
	waittest.Until(t, 10*time.Second, "a new listener", func() bool {
		return postgres.Administer(t.Context(), w.db.AdminURL(),
			`DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'app_worker' AND datname = current_database() AND query LIKE 'LISTEN%') THEN RAISE EXCEPTION 'none'; END IF; END $$`) == nil
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPublisherConfigValidate(t *testing.T) {
	t.Parallel()
	_, err := registry.NewPublisher(registry.PublisherConfig{PollEvery: -1})
	if err == nil {
		t.Fatal("an empty configuration is valid")
	}
	for _, want := range []string{"database", "Kafka", "public key", "logger", "negative"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}
