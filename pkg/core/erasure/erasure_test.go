package erasure

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/pkg/tombstone"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

var errCrash = errors.New("the process is killed")

// crashing erases with a process that is killed at each point once, and another one
// that takes over, until one gets to the end. late happens at a point, before the
// process is killed there.
func (w *world) crashing(claim tenant.Claim, s Subject, late map[string]func()) (Erasure, []string) {
	w.t.Helper()
	seen := make(map[string]bool)
	var points []string
	for range 60 {
		done, err := w.eraser(func(point string) error {
			if seen[point] {
				return nil
			}
			seen[point], points = true, append(points, point)
			if happens := late[point]; happens != nil {
				happens()
			}
			return fmt.Errorf("%w: %s", errCrash, point)
		}).Erase(w.t.Context(), claim, s)
		if err == nil {
			return done, points
		}
		if !errors.Is(err, errCrash) {
			w.t.Fatal(err)
		}
	}
	w.t.Fatal("no process gets to the end")
	return Erasure{}, nil
}

// TestEveryCrash: erasing a visitor, then their tenant, with a crash at every point of
// every step. What is left is what an erasure without a crash leaves, with one
// certificate, exact counts, and nobody else's data touched.
func TestEveryCrash(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	company := w.a.CompanyID()
	b := w.everything(w.b.CompanyID())
	a := w.everything(company)

	// What a sink or a collector brings late is erased too, and counted once.
	done, points := w.crashing(w.a, Subject{Visitor, visitor}, map[string]func(){
		"keys counted first": func() { w.lateKey(company, 7) }, "keys counted": func() { w.lateKey(company, 8) },
		"clickhouse rows deleted": func() { w.lateEvents(3, "slow") }, "after rows_deleted": func() { w.lateEvents(2, "slower") },
	})
	const lateEvents = 5
	if want := 17; len(points) != want {
		t.Errorf("%d points of a visitor's erasure, want %d: %q", len(points), want, points)
	}
	wantFound(t, done, map[string]uint64{"clickhouse.events": visitorEvents + lateEvents, "clickhouse.visits": visitorEvents, "keys": 4, "kafka.visits.state": 1})
	certificate := w.check(done)
	if certificate.SubjectHash != w.signer.SubjectHash(company, visitor) || certificate.SubjectHash == w.signer.SubjectHash(w.b.CompanyID(), visitor) {
		t.Error("the subject's hash")
	}
	if strings.Contains(string(done.Certificate), fmt.Sprintf("%x", visitor)) || strings.Contains(string(done.Certificate), "operator") {
		t.Errorf("the certificate names somebody: %s", done.Certificate)
	}
	same(t, "B", b, w.everything(w.b.CompanyID()), nil)
	after := w.everything(company)
	same(t, "what is left of A", a, after, func(place string) bool {
		return slices.Contains([]string{"clickhouse events", "clickhouse visits", "clickhouse drops", "clickhouse counted_days", "clickhouse changed_days", "postgres core.erasures", "postgres core.outbox"}, place) ||
			a[place] != "" && after[place] == "" && strings.Contains(place+a[place], string(visitor[:])) || // journal
			strings.HasPrefix(place, "control.keys") && strings.Contains(place, fmt.Sprintf("%x", visitor)) && after[place] == "" ||
			strings.HasPrefix(place, "control.erasures") || strings.HasPrefix(place, "control.withdrawals") && strings.Contains(place, fmt.Sprintf("%x", visitor))
	})
	if n := w.count("drops", "reason = 'erased' AND company_id = '"+company+"'"); n != visitorEvents+lateEvents {
		t.Errorf("%d drops stand for %d erased events", n, visitorEvents+lateEvents)
	}

	done, points = w.crashing(w.a, Subject{Kind: Tenant}, nil)
	if want := 19; len(points) != want {
		t.Errorf("%d points of a tenant's erasure, want %d: %q", len(points), want, points)
	}
	wantFound(t, done, map[string]uint64{
		"clickhouse.events": allEvents - visitorEvents, "clickhouse.visits": allEvents - visitorEvents, "clickhouse.drops": visitorEvents + lateEvents, "clickhouse.ledger_edge": allEvents, "clickhouse.ledger_checks": allEvents,
		"keys": 3, "kafka.visits.state": 1, "kafka.accounts.state": 1, "kafka.control.withdrawals": 2, "kafka.control.sites": 1,
		"postgres.core.sites": 1, "postgres.core.site_keys": 1, "postgres.core.site_forms": 1, "postgres.core.consent_texts": 1, "postgres.core.memberships": 1, "postgres.core.brands": 1, "postgres.core.suppressions": 1,
	})
	w.check(done)
	same(t, "B", b, w.everything(w.b.CompanyID()), nil)
	for place, value := range w.everything(company) {
		kept := strings.HasPrefix(value, "0") && strings.HasPrefix(place, "postgres") || strings.HasPrefix(value, "0 rows") || strings.HasPrefix(place, "control.erasures")
		for _, table := range []string{"core.tenants", "core.directory", "core.erasures", "core.outbox"} {
			kept = kept || place == "postgres "+table
		}
		if !kept {
			t.Errorf("left of the tenant in %s: %q", place, value)
		}
	}
	w.nameless(company)
}

// wantFound compares the counts that are not zero.
func wantFound(t *testing.T, e Erasure, want map[string]uint64) {
	t.Helper()
	got := maps.Clone(e.Found)
	maps.DeleteFunc(got, func(what string, n uint64) bool {
		return n == 0 || what == "clickhouse.counted_days" || what == "clickhouse.changed_days"
	})
	if !maps.Equal(got, want) {
		t.Errorf("found\n%v, want\n%v", got, want)
	}
}

// check reads the certificate, and finds no other.
func (w *world) check(e Erasure) Certificate {
	w.t.Helper()
	c, err := Verify(w.signer.PublicKey(), e.Certificate)
	if err != nil {
		w.t.Fatal(err)
	}
	if c.ErasureID != e.ID || c.CompanyID != e.CompanyID || c.Kind != e.Kind || !maps.Equal(c.Found, e.Found) || len(c.Left) == 0 || c.Round != 1 {
		w.t.Errorf("certificate %+v of %+v", c, e)
	}
	for _, topic := range schemas.Topics() {
		if at, stands := c.ExpiresAt[topic.Name]; stands == topic.Compacted() || stands && !at.Equal(c.VerifiedAt.Add(topic.Retention)) {
			w.t.Errorf("%s expires at %s", topic.Name, at)
		}
	}
	return c
}

func (w *world) count(table, where string) (n uint64) {
	w.t.Helper()
	if err := w.rows.QueryRow(w.t.Context(), "SELECT count() FROM "+table+" FINAL WHERE "+where).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// lateEvents are n events of A's visitor.
func (w *world) lateEvents(n int, name string) {
	w.t.Helper()
	company := w.a.CompanyID()
	if err := w.rows.Exec(w.t.Context(), `INSERT INTO events (tenant_bucket, company_id, event_id, visitor_id, consent, received_at, expires_at, source_offset)
SELECT {b:UInt8}, {c:String}, concat({name:String}, toString(number)), '0123456789abcdef', 'analytics', now64(3), now() + 86400, 1000 + number FROM numbers({n:UInt8})`,
		clickhouse.Param("b", schemas.TenantBucket(company)), clickhouse.Param("c", company), clickhouse.Param("name", name), clickhouse.Param("n", n)); err != nil {
		w.t.Fatal(err)
	}
}

// lateKey is one more key of a visitor.
func (w *world) lateKey(company string, number uint64) {
	w.t.Helper()
	key := &metivav1.DataKey{CompanyId: company, KeyId: number, SubjectId: visitor[:], Wrapped: []byte("wrapped")}
	value, err := proto.Marshal(&metivav1.KeyRecord{Kind: &metivav1.KeyRecord_DataKey{DataKey: key}})
	if err == nil {
		err = w.producer.ProduceSync(w.t.Context(), schemas.TopicControlKeys, 0, seal.RecordKeyOf(key), value)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// nameless: the tenant is erased for good, and Postgres keeps no name of it.
func (w *world) nameless(company string) {
	w.t.Helper()
	var status, name string
	if err := w.admin().QueryRow(w.t.Context(), `SELECT status, name FROM core.tenants WHERE company_id = $1`, company).Scan(&status, &name); err != nil {
		w.t.Fatal(err)
	}
	if status != "erased" || name != "erased" {
		w.t.Errorf("the tenant is %s, its name is %q", status, name)
	}
	if err := w.registry.ResumeTenant(w.t.Context(), w.a); err == nil {
		w.t.Error("an erased tenant was resumed")
	}
	// What is to be published again when Kafka has lost it.
	var settings int
	if err := w.admin().QueryRow(w.t.Context(), `SELECT count(*) FROM core.outbox
WHERE company_id = $1 AND topic NOT IN ('control.erasures', 'control.withdrawals') AND octet_length(value) > 0`, company).Scan(&settings); err != nil || settings != 0 {
		w.t.Errorf("%d records of the tenant's settings are in the outbox, %v", settings, err)
	}
	for what, change := range map[string]func() error{
		"a brand": func() error { _, err := w.registry.CreateBrand(w.t.Context(), w.a, "Late"); return err },
		"a network": func() error {
			_, err := w.registry.Suppress(w.t.Context(), w.a, "late", []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")})
			return err
		},
	} {
		if err := change(); !errors.Is(err, registry.ErrNotFound) {
			w.t.Errorf("an erased tenant got %s: %v", what, err)
		}
	}
}

// TestAgain: asking again gives the certificate there is; rows that are there again
// are erased again, under a new one.
func TestAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who := Subject{Contact, visitor}
	first, err := w.eraser(nil).Erase(t.Context(), w.a, who)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.eraser(nil).Erase(t.Context(), w.a, Subject{Visitor, visitor})
	if err != nil || again.ID != first.ID || string(again.Certificate) != string(first.Certificate) || again.Kind != Contact {
		t.Errorf("asked again: %+v, %v", again, err)
	}
	w.lateEvents(1, "restored")
	again, err = w.eraser(nil).Erase(t.Context(), w.a, who)
	if err != nil || again.Round != 2 || again.ID != first.ID || string(again.Certificate) == string(first.Certificate) {
		t.Errorf("after a restore: %+v, %v", again, err)
	}
	wantFound(t, again, map[string]uint64{"clickhouse.events": visitorEvents + 1, "clickhouse.visits": visitorEvents, "keys": 2, "kafka.visits.state": 1})
	if c, err := Verify(w.signer.PublicKey(), again.Certificate); err != nil || !maps.Equal(c.FoundInRound, map[string]uint64{"clickhouse.events": 1}) || !maps.Equal(c.Found, again.Found) {
		t.Errorf("the second certificate has %v of %v, %v", c.FoundInRound, c.Found, err)
	}
	if n := w.count("events", "visitor_id = '0123456789abcdef' AND company_id = '"+w.a.CompanyID()+"'"); n != 0 {
		t.Errorf("%d rows are there again", n)
	}
	// What a restored Kafka brings back is found too.
	w.lateKey(w.a.CompanyID(), 9)
	if again, err = w.eraser(nil).Erase(t.Context(), w.a, who); err != nil || again.Round != 3 || again.Found["keys"] != 3 {
		t.Errorf("a key is there again: %+v, %v", again, err)
	}
	key := tombstone.RecordKey(w.a.CompanyID(), visitor[:])
	if err := w.eraser(nil).publish(t.Context(), record{schemas.TopicControlErasures, key, nil}); err != nil {
		t.Fatal(err)
	}
	if again, err = w.eraser(nil).Erase(t.Context(), w.a, who); err != nil || again.Round != 4 {
		t.Errorf("the tombstone was lost: %+v, %v", again, err)
	}
	if again, err = w.eraser(nil).Erase(t.Context(), w.a, who); err != nil || again.Round != 4 {
		t.Errorf("nothing is there: %+v, %v", again, err)
	}
	w.jobFinishes(Subject{Visitor, visitor})
	all, err := List(t.Context(), w.eraser(nil).cfg.Pool, w.a, "")
	if err != nil || len(all) != 1 {
		t.Errorf("%d erasures, %v", len(all), err)
	}
	if all, err := List(t.Context(), w.eraser(nil).cfg.Pool, w.b, first.ID); err != nil || len(all) != 0 {
		t.Errorf("B sees A's erasure: %v, %v", all, err)
	}

	own, err := tenant.OperatorClaim(w.agency.CompanyID, operator)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.eraser(nil).Erase(t.Context(), own, Subject{Kind: Tenant}); !errors.Is(err, ErrHasClients) {
		t.Errorf("an agency with clients: %v", err)
	}
	for _, client := range []tenant.Claim{w.a, w.b} {
		if err := w.registry.SuspendTenant(t.Context(), client); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.eraser(nil).Erase(t.Context(), own, Subject{Kind: Tenant}); !errors.Is(err, ErrHasClients) {
		t.Errorf("an agency with suspended clients: %v", err)
	}
	w.agencies()
	for name, s := range map[string]Subject{"zero visitor": {Kind: Visitor}, "tenant with an id": {Tenant, visitor}, "no kind": {}} {
		if _, err := w.eraser(nil).Erase(t.Context(), w.a, s); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var known []string
	for _, table := range w.tables() {
		if _, kept := keptTables()[table]; kept != slices.Contains(erasedTables(), table) {
			known = append(known, table)
		} else {
			t.Errorf("%s has rows of tenants: say in tenantrows.go what becomes of them", table)
		}
	}
	if len(known) != len(keptTables())+len(erasedTables()) {
		t.Errorf("tables that are not there: %v", known)
	}
}

// TestCertificate: whatever is changed in a certificate, it is none any more.
func TestCertificate(t *testing.T) {
	t.Parallel()
	signer, err := NewSigner(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewSigner(append(make([]byte, 31), 1))
	if err != nil {
		t.Fatal(err)
	}
	printed, err := signer.sign(Certificate{Version: 1, ErasureID: "era_x", CompanyID: "cmp_x", Kind: Tenant, Found: map[string]uint64{"keys": 3}})
	if err != nil {
		t.Fatal(err)
	}
	var pretty strings.Builder
	indented, err := json.MarshalIndent(json.RawMessage(printed), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	pretty.Write(indented)
	for _, good := range []string{string(printed), pretty.String()} {
		if c, err := Verify(signer.PublicKey(), []byte(good)); err != nil || c.Found["keys"] != 3 {
			t.Errorf("%s: %v", good, err)
		}
	}
	forged, err := other.sign(Certificate{Version: 1, ErasureID: "era_x"})
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"count": strings.Replace(string(printed), `"keys":3`, `"keys":4`, 1), "of another key": string(forged), "nothing": "", "cut": string(printed[:len(printed)-9]),
		"no signature": strings.Replace(string(printed), `"signature":"`, `"signature":"AA`, 1), "algorithm": strings.Replace(string(printed), "Ed25519", "none", 1),
	} {
		if _, err := Verify(signer.PublicKey(), []byte(bad)); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", signer, signer, signer); strings.Contains(text, "0 0") {
		t.Errorf("a signer prints its key: %s", text)
	}
	if _, err := NewSigner(nil); err == nil {
		t.Error("a signer without a key")
	}
}

// FuzzVerify: what somebody hands in as a certificate is genuine only as it was signed.
func FuzzVerify(f *testing.F) {
	signer, err := NewSigner(make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	genuine := Certificate{Version: 1, ErasureID: "era_x", CompanyID: "cmp_x", Kind: Tenant, Found: map[string]uint64{"keys": 3}}
	printed, err := signer.sign(genuine)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(printed)
	f.Add([]byte(`{"certificate":null,"algorithm":"Ed25519"}`))
	f.Fuzz(func(t *testing.T, handed []byte) {
		c, err := Verify(signer.PublicKey(), handed)
		if err == nil && (c.ErasureID != genuine.ErasureID || c.Kind != Tenant || !maps.Equal(c.Found, genuine.Found)) {
			t.Errorf("genuine: %+v", c)
		}
	})
}
