package registry_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// openSalts opens every salt on the topic with the collectors' key.
func (w *world) openSalts() map[string][32]byte {
	w.t.Helper()
	out := map[string][32]byte{}
	for key, value := range w.topics.table(schemas.TopicControlKeys) {
		rec := &metivav1.KeyRecord{}
		if err := proto.Unmarshal(value, rec); err != nil {
			w.t.Fatal(err)
		}
		salt, err := seal.OpenSalt(w.edge, rec.GetVisitSalt())
		if err != nil {
			w.t.Fatalf("%s: %v", key, err)
		}
		if want := seal.SaltRecordKey(rec.GetVisitSalt().GetCompanyId(), rec.GetVisitSalt().GetDay()); string(want) != key {
			w.t.Errorf("record %s holds the salt of %s", key, want)
		}
		out[key] = salt
	}
	return out
}

func (w *world) days(companyID string) (days []string) {
	for key := range w.topics.table(schemas.TopicControlKeys) {
		if day, ok := strings.CutPrefix(key, "salt/"+companyID+"/"); ok {
			days = append(days, day)
		}
	}
	slices.Sort(days)
	return days
}

func TestSaltsForThreeDaysAndTombstonesAfter48Hours(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, _ := w.tenantWithSite("Alpha")
	id := claim.CompanyID()
	p := w.publisher()
	w.flush(p)
	if got := w.days(id); !slices.Equal(got, []string{"2026-11-22", "2026-11-23", "2026-11-24"}) {
		t.Fatalf("days: %v", got)
	}
	first := w.openSalts()
	seen := map[[32]byte]bool{{}: true}
	for key, salt := range first {
		if seen[salt] {
			t.Errorf("%s: the salt is zero or used twice", key)
		}
		seen[salt] = true
	}
	w.flush(p)
	if !maps.Equal(first, w.openSalts()) {
		t.Error("a second run changed the salts")
	}
	// 2026-11-24 23:59:59: the day 22 ended 47:59:59 ago.
	w.clock.add(2*24*time.Hour + 13*time.Hour + 59*time.Minute + 59*time.Second)
	w.flush(p)
	if got := w.days(id); !slices.Equal(got, []string{"2026-11-22", "2026-11-23", "2026-11-24", "2026-11-25", "2026-11-26"}) {
		t.Fatalf("a second before: %v", got)
	}
	w.clock.add(time.Second)
	w.flush(p)
	if got := w.days(id); !slices.Equal(got, []string{"2026-11-23", "2026-11-24", "2026-11-25", "2026-11-26", "2026-11-27"}) {
		t.Fatalf("48 hours after the day: %v", got)
	}
	tombstones := 0
	for _, r := range w.topics.all(schemas.TopicControlKeys) {
		if len(r.value) == 0 {
			tombstones++
		}
	}
	w.flush(p)
	again := 0
	for _, r := range w.topics.all(schemas.TopicControlKeys) {
		if len(r.value) == 0 {
			again++
		}
	}
	if tombstones != 2 || again != 2 { // the client's and the agency's own
		t.Errorf("tombstones: %d, then %d", tombstones, again)
	}
}

func TestASuspendedTenantGetsNoSalts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, _ := w.tenantWithSite("Alpha")
	if err := w.store.SuspendTenant(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	p := w.publisher()
	w.flush(p)
	if got := w.days(claim.CompanyID()); len(got) != 0 {
		t.Errorf("salts: %v", got)
	}
	if err := w.store.ResumeTenant(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	w.flush(p)
	if got := w.days(claim.CompanyID()); len(got) != 3 {
		t.Errorf("salts: %v", got)
	}
}

func TestANewCollectorsKeyGetsNewSalts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tenantWithSite("Alpha")
	w.flush(w.publisher())
	w.edge = edgeKey(t)
	w.flush(w.publisher())
	if n := len(w.openSalts()); n != 6 {
		t.Errorf("%d salts open with the new key", n)
	}
}

// TestSaltsAreNowhereInPostgres dumps every text and byte column of the
// database and looks for each salt, and for each wrapped one.
func TestSaltsAreNowhereInPostgres(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tenantWithSite("Alpha")
	w.flush(w.publisher())
	conn, err := pgx.Connect(t.Context(), w.db.AdminURL().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	var dump []byte
	rows, err := conn.Query(t.Context(), `SELECT query_to_xml('SELECT * FROM ' || c.oid::regclass, true, false, '')::text
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('core', 'identity', 'public') AND c.relkind = 'r'`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 8 {
		t.Fatalf("%d tables, %v", len(tables), err)
	}
	for _, table := range tables {
		dump = append(dump, table...)
	}
	if !bytes.Contains(dump, []byte("Alpha")) {
		t.Fatal("the dump holds nothing")
	}
	for key, salt := range w.openSalts() {
		for what, needle := range forms(salt[:]) {
			if bytes.Contains(dump, []byte(needle)) {
				t.Errorf("the salt of %s is in Postgres in %s", key, what)
			}
		}
		for what, needle := range forms(w.topics.table(schemas.TopicControlKeys)[key]) {
			if bytes.Contains(dump, []byte(needle)) {
				t.Errorf("the wrapped salt of %s is in Postgres in %s", key, what)
			}
		}
	}
}
