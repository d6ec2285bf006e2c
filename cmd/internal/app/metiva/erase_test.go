package metiva

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestEraseAndReplay: events in, a visitor and then a tenant erased, and all of Kafka
// read again from its start each time, by groups that have read nothing: nothing comes
// back, and the other tenant's rows stay as they are.
func TestEraseAndReplay(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	visitor, other, receipt := random(16), random(16), random(16)
	id := hex.EncodeToString(visitor)
	for i := range 30 {
		site := l.a
		if i%2 == 1 {
			site = l.b
		}
		l.event(site, nil)
		l.event(site, granted(visitor))
		l.event(site, granted(other))
	}
	l.event(l.a, filledIn(visitor, visitor))
	l.event(l.b, filledIn(visitor, visitor))
	l.event(l.a, filledIn(nil, receipt))
	minute := time.Now().UTC().Truncate(time.Minute).UnixMilli()
	l.send(schemas.TopicLedgerEdge, 0, []byte("k"), &metivav1.LedgerEntry{
		CompanyId: l.a.CompanyID, SiteId: l.a.ID, WriterId: "collector-1", MinuteMs: minute, Stage: metivav1.Stage_STAGE_COLLECTOR, Count: 47,
	})
	stop := l.workers("")
	waittest.Until(t, time.Minute, "the visits to hold every event", func() bool {
		var n uint64
		l.must(l.rows.QueryRow(t.Context(), "SELECT sum(events) FROM visits FINAL").Scan(&n))
		return n == 93
	})
	l.settled("")
	ofVisitor := "visitor_id = unhex('" + id + "') AND company_id = '" + l.a.CompanyID + "'"
	if n := l.count(ofVisitor); n["events"] != 16 || n["visits"] == 0 {
		t.Fatalf("rows of the visitor: %v", n)
	}
	waittest.Until(t, time.Minute, "enrich's counts of B's events to be there", func() bool {
		var n uint64
		l.must(l.rows.QueryRow(t.Context(), "SELECT sum(count) FROM ledger_edge FINAL WHERE stage = 'enrich' AND company_id = '"+l.b.CompanyID+"'").Scan(&n))
		return n == 46
	})
	b := l.checksum(l.b, false)

	certificate, err := l.command("", "30s", "erase", "visitor", "--tenant", l.a.CompanyID, "--visitor", id)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(certificate, id) {
		t.Errorf("the certificate names the visitor: %s", certificate)
	}
	l.wantGenuine(certificate, id, other)
	if n := l.count(ofVisitor); len(n) != 0 {
		t.Errorf("rows are left: %v", n)
	}
	if got := l.checksum(l.b, false); !maps.Equal(got, b) {
		t.Errorf("B changed:\n%v\n%v", got, b)
	}
	balance := func(when string) {
		t.Helper()
		var events, drops, erased uint64
		l.must(l.rows.QueryRow(t.Context(), "SELECT count(), 0, 0 FROM events FINAL WHERE company_id = '"+l.a.CompanyID+"'").Scan(&events, new(uint8), new(uint8)))
		l.must(l.rows.QueryRow(t.Context(), "SELECT count(), countIf(reason = 'erased') FROM drops FINAL WHERE company_id = '"+l.a.CompanyID+"'").Scan(&drops, &erased))
		if events != 31 || drops != erased || erased != 16 {
			t.Errorf("%s: of 47 accepted events %d are rows and %d drops, %d of them erased", when, events, drops, erased)
		}
	}
	balance("after the erasure")
	if again, err := l.command("", "30s", "erase", "again", "--tenant", l.a.CompanyID); err != nil || again != certificate {
		t.Errorf("looked at again: %v, %s", err, again)
	}
	stop()

	// As after weeks: ClickHouse has forgotten the tokens of the first time, by which it
	// would know the same batches again.
	for _, table := range []string{"events", "drops", "visits", "accounts_daily", "ledger_edge"} {
		l.must(l.rows.Exec(t.Context(), "ALTER TABLE "+table+" MODIFY SETTING non_replicated_deduplication_window = 0"))
	}
	stop = l.workers("-again")
	l.settled("-again")
	if n := l.count(ofVisitor); len(n) != 0 {
		t.Errorf("rows came back: %v", n)
	}
	balance("after the replay")
	// What lay in a collector's spool comes after the tombstone.
	l.event(l.a, granted(visitor))
	l.event(l.a, filledIn(visitor, visitor))
	l.settled("-again")
	if n := l.count(ofVisitor); len(n) != 0 {
		t.Errorf("rows came from the spool: %v", n)
	}
	if n := l.opens(visitor); n != 0 {
		t.Errorf("%d captures of the visitor open, of those in Kafka before the erasure", n)
	}
	if n := l.opens(receipt); n == 0 {
		t.Error("no capture of anybody else opens")
	}

	again := l.checksum(l.b, true)
	out, err := l.command("", "300ms", "erase", "tenant", "--tenant", l.a.CompanyID, "--confirm", l.a.CompanyID)
	// The sink's group of the product stands still here, others have read on.
	if err == nil || !strings.Contains(err.Error(), "the same command goes on") {
		t.Fatalf("the sinks have not settled: %v %s", err, out)
	}
	stop()
	stop = l.workers("")
	if _, err = l.command("", "30s", "erase", "tenant", "--tenant", l.a.CompanyID, "--confirm", l.a.CompanyID); err != nil {
		t.Fatal(err)
	}
	stop()
	stop = l.workers("-third")
	l.settled("-third")
	stop()
	if n := l.count("company_id = '" + l.a.CompanyID + "'"); len(n) != 0 {
		t.Errorf("rows of the tenant are there: %v", n)
	}
	if got := l.checksum(l.b, true); !maps.Equal(got, again) {
		t.Errorf("B changed:\n%v\n%v", got, again)
	}
	l.wantStatus(2)
}

// wantGenuine checks a certificate as its reader does.
func (l *line) wantGenuine(certificate, id string, other []byte) {
	l.t.Helper()
	verify := func(in string, args ...string) error {
		_, err := l.verify(in, args...)
		return err
	}
	if err := verify(certificate, "--visitor", id); err != nil {
		l.t.Error(err)
	}
	if err := verify(certificate, "--visitor", hex.EncodeToString(other)); err == nil {
		l.t.Error("the certificate is about anybody")
	}
	if err := verify(strings.Replace(certificate, `"clickhouse.events":16`, `"clickhouse.events":15`, 1)); err == nil {
		l.t.Error("a changed certificate is genuine")
	}
	var outer struct {
		Certificate struct {
			Found map[string]uint64 `json:"found"`
		} `json:"certificate"`
		PublicKey string `json:"public_key"`
	}
	l.must(json.Unmarshal([]byte(certificate), &outer))
	if err := verify(certificate, "--public-key", outer.PublicKey); err != nil {
		l.t.Error(err)
	}
	if f := outer.Certificate.Found; f["clickhouse.events"] != 16 || f["keys"] != 1 || f["clickhouse.visits"] == 0 {
		l.t.Errorf("found %v", f)
	}
}

func (l *line) verify(in string, args ...string) (string, error) {
	var out strings.Builder
	err := Run(l.t.Context(), app.System{
		Args: append([]string{"erase", "verify", "--keys-dir", l.keys, "--env", "development", "--data", l.t.TempDir()}, args...), Stdin: strings.NewReader(in), Stdout: &out, Stderr: &out,
	})
	return out.String(), err
}

// opens counts the captures of a subject in Kafka whose values open, with the keys
// that are there now.
func (l *line) opens(subject []byte) (n int) {
	l.t.Helper()
	opener := seal.NewOpener(l.private)
	l.must(l.client.Scan(l.t.Context(), schemas.TopicControlKeys, func(r *kafka.Record) error { return opener.ApplyKey(r.Key, r.Value) }))
	l.must(l.client.Scan(l.t.Context(), schemas.TopicCapturesEnriched, func(r *kafka.Record) error {
		c := new(metivav1.Capture)
		l.must(proto.Unmarshal(r.Value, c))
		if c.GetCompanyId() != l.a.CompanyID || string(c.GetSubjectId()) != string(subject) {
			return nil
		}
		b := seal.Binding{CompanyID: c.GetCompanyId(), SiteID: c.GetSiteId(), EventID: [16]byte(c.GetEventId()), SubjectID: [16]byte(subject), Field: seal.PersonField("email")}
		if _, err := opener.OpenField(nil, b, c.GetSealedFields()["email"]); err == nil {
			n++
		} else if !errors.Is(err, seal.ErrShredded) {
			l.t.Error(err)
		}
		return nil
	}))
	return n
}

// wantStatus: the tenant's erasures are all certified.
func (l *line) wantStatus(want int) {
	l.t.Helper()
	var out strings.Builder
	l.must(Run(l.t.Context(), app.System{Args: []string{"erase", "status", "--tenant", l.a.CompanyID, "--postgres-url", l.db.URL("app_rw").Reveal()}, Stdout: &out, Stderr: &out}))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for _, one := range lines {
		var e struct {
			State       string          `json:"state"`
			Certificate json.RawMessage `json:"certificate"`
		}
		l.must(json.Unmarshal([]byte(one), &e))
		if _, err := l.verify(string(e.Certificate)); err != nil || e.State != "certified" {
			l.t.Errorf("%s: %v", one, err)
		}
	}
	if len(lines) != want {
		l.t.Errorf("%d erasures, want %d", len(lines), want)
	}
}

// TestEraseRefuses: what an operator may get wrong, and a key that is none.
func TestEraseRefuses(t *testing.T) {
	t.Parallel()
	tenantID, visitor := "cmp_aaaaaaaaaaaaaaaaaaaa", strings.Repeat("ab", 16)
	development := t.TempDir()
	if err := seal.GenerateDevelopmentKeys(development); err != nil {
		t.Fatal(err)
	}
	stores := "--kafka-brokers localhost:1 --clickhouse-url http://localhost:1/m --postgres-url postgres://localhost:1/m --postgres-worker-url postgres://localhost:1/m"
	for args, want := range map[string]string{
		"visitor --tenant " + tenantID + " --visitor abc":                                                      "an id is 32 hexadecimal digits",
		"visitor --tenant nobody --visitor " + visitor:                                                         "company id",
		"tenant --tenant " + tenantID + " --confirm cmp_b":                                                     "--confirm",
		"visitor --tenant " + tenantID + " --visitor " + visitor + " --kafka-brokers localhost:1":              "go together",
		"visitor --tenant " + tenantID + " --visitor " + visitor + " " + stores:                                "METIVA_KEYS_DIR is missing",
		"visitor --tenant " + tenantID + " --visitor " + visitor + " " + stores + " --keys-dir " + development: "development key",
		"visitor --tenant " + tenantID + " --visitor " + visitor + " " + stores + " --keys-dir " + t.TempDir(): "erasure",
		"verify --keys-dir " + development + " --data " + t.TempDir():                                          "development key",
		"verify --public-key AAAA": "--public-key",
		fmt.Sprintf("verify --public-key %s --visitor %s", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", visitor): "takes erasure.key",
	} {
		var out strings.Builder
		err := Run(t.Context(), app.System{Args: append([]string{"erase"}, strings.Fields(args)...), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out})
		if !errors.Is(err, app.ErrConfiguration) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

// TestEraseByEmail: who gave an address in forms is found by it, under every id, and
// nobody else; the address is printed nowhere.
func TestEraseByEmail(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	visitor, receipt := random(16), random(16)
	l.event(l.a, filledIn(visitor, visitor))
	l.event(l.a, filledIn(nil, receipt))
	l.event(l.b, filledIn(visitor, visitor))
	stop := l.workers("")
	defer stop()
	l.settled("")
	out, err := l.command(strings.Replace(eraseEmail, "Canary", "Other", 1), "30s", "erase", "contact", "--tenant", l.a.CompanyID, "--email-stdin")
	if !errors.Is(err, errNoContact) || out != "" {
		t.Errorf("an address nobody gave: %v %s", err, out)
	}
	if out, err = l.command("canary", "30s", "erase", "contact", "--tenant", l.a.CompanyID, "--email-stdin"); !errors.Is(err, app.ErrConfiguration) || strings.Contains(err.Error()+out, "canary") {
		t.Errorf("no address: %v %s", err, out)
	}
	out, err = l.command(strings.ToUpper(eraseEmail)+"\n", "30s", "erase", "contact", "--tenant", l.a.CompanyID, "--email-stdin")
	if err != nil || strings.Count(out, "\n") != 2 || strings.Contains(strings.ToLower(out), "canary") {
		t.Fatalf("%v: %s", err, out)
	}
	for _, certificate := range strings.Split(strings.TrimSpace(out), "\n") {
		if _, err := l.verify(certificate); err != nil {
			t.Error(err)
		}
	}
	if l.opens(visitor)+l.opens(receipt) != 0 {
		t.Error("captures of the erased open")
	}
	if n := l.count("visitor_id = unhex('" + hex.EncodeToString(visitor) + "')"); n["events"] != 1 {
		t.Errorf("of one event in each tenant %v are left", n)
	}
}
