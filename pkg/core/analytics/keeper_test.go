package analytics

import (
	"encoding/xml"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/secret"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// grantsOf reads what deploy grants a user of a server.
func grantsOf(t *testing.T, user string) []string {
	t.Helper()
	raw, err := os.ReadFile("../../../deploy/clickhouse/users.xml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Users struct {
			Users []struct {
				XMLName xml.Name
				Grants  []string `xml:"grants>query"`
			} `xml:",any"`
		} `xml:"users"`
	}
	if err := xml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	for _, u := range file.Users.Users {
		if u.XMLName.Local == user && len(u.Grants) > 0 {
			return u.Grants
		}
	}
	t.Fatalf("users.xml grants %s nothing", user)
	return nil
}

// TestKeeperMay: what core does as the user keeper works with what deploy grants that
// user, by the engine's own check of grants, and nothing beyond it does.
func TestKeeperMay(t *testing.T) {
	t.Parallel()
	engine := clickhousetest.Start(t)
	c := migratedOn(t, engine)
	const who, site = tenant("cmp_a"), "sit_a"
	visitor := []byte("0123456789abcdef")
	fillTenant(t, c, who, visitor)
	err := c.Exec(t.Context(), "INSERT INTO events (tenant_bucket, company_id, site_id, received_at, expires_at) SELECT {b:UInt8}, {c:String}, {s:String}, now64(3), now() + INTERVAL 1 YEAR",
		clickhouse.Param("b", schemas.TenantBucket(string(who))), clickhouse.Param("c", string(who)), clickhouse.Param("s", site))
	if err != nil {
		t.Fatal(err)
	}

	// As if everything had been written an hour ago, so that a day may be counted.
	for _, sql := range []string{
		"TRUNCATE TABLE changed_days",
		"INSERT INTO changed_days (tenant_bucket, company_id, source, day, changed_at) SELECT tenant_bucket, company_id, 'visits', toDate(started_at) AS d, now64(3) - 3600 FROM visits GROUP BY tenant_bucket, company_id, d",
	} {
		if err := c.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}

	engine.RestartAs(grantsOf(t, "keeper")...)
	if n, err := NewCounter(c).Count(t.Context(), 1); err != nil || n != 1 {
		t.Errorf("counted %d days, %v", n, err)
	}
	e, err := NewEraser(c, who, visitor)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := e.MarkDropped(t.Context()); err != nil {
		t.Error(err)
	}
	if err := e.Delete(t.Context(), began, "era_x/1"); err != nil {
		t.Error(err)
	}
	if left, err := e.Count(t.Context()); err != nil || left["events"]+left["visits"] != 0 || len(left) != 2 {
		t.Errorf("left are %v, %v", left, err)
	}
	if begun, err := e.Begun(t.Context(), "era_x/1"); err != nil || !begun["events"] {
		t.Errorf("begun %v, %v", begun, err)
	}
	if p, err := e.Proof(t.Context()); err != nil || p.Mutations == 0 {
		t.Errorf("proof %+v, %v", p, err)
	}
	shortened, err := NewRetainer(c, time.Now).Shorten(t.Context(), []Retention{{CompanyID: string(who), SiteID: site, Days: 90}})
	if err != nil || len(shortened) != 1 {
		t.Errorf("shortened %+v, %v", shortened, err)
	}

	for _, sql := range []string{
		"DROP TABLE events", "TRUNCATE TABLE events", "CREATE TABLE x (a UInt8) ENGINE = MergeTree ORDER BY a",
		"ALTER TABLE events ADD COLUMN x UInt8", "ALTER TABLE events MODIFY TTL expires_at",
		"SELECT count() FROM system.columns WHERE (SELECT count() FROM url('http://127.0.0.1:1/', CSV, 'a String')) = 0",
		"SELECT count() FROM system.users", "CREATE DATABASE other", "OPTIMIZE TABLE events",
	} {
		err := c.Exec(t.Context(), sql)
		if code, _ := clickhouse.Code(err); code != clickhouse.CodeAccessDenied {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// TestMigrateMay: the migrations work with what deploy grants the user migrate, once an
// administrator has made the database. The library wants grants of engines besides,
// which a server does not by default.
func TestMigrateMay(t *testing.T) {
	t.Parallel()
	engine := clickhousetest.Start(t)
	c, err := clickhouse.Open(clickhouse.Config{URL: secret.New(engine.URL())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	quiet := slog.New(slog.DiscardHandler)
	if _, err := clickhouse.Migrate(t.Context(), c, fstest.MapFS{}, quiet); err != nil {
		t.Fatal(err)
	}
	grants := grantsOf(t, "migrate")
	for _, name := range []string{"MergeTree", "ReplacingMergeTree", "AggregatingMergeTree", "SummingMergeTree"} {
		grants = append(grants, "GRANT TABLE ENGINE ON "+name)
	}
	engine.RestartAs(grants...)
	if done, err := clickhouse.Migrate(t.Context(), c, schema.Files, quiet); err != nil || len(done) == 0 {
		t.Errorf("%d migrations, %v", len(done), err)
	}
}

// TestUsersAreWrittenInClickHouse: what an administrator applies is in the language of the
// engine, which cannot have users and policies of its own to apply it to.
func TestUsersAreWrittenInClickHouse(t *testing.T) {
	t.Parallel()
	c := migrated(t)
	raw, err := os.ReadFile("../../../deploy/clickhouse/policies.sql")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(raw)) {
		if !strings.HasPrefix(line, "--") {
			lines = append(lines, line)
		}
	}
	var statements []string
	for _, s := range strings.Split(strings.Join(lines, ""), ";") {
		if s = strings.TrimSpace(s); s != "" {
			statements = append(statements, s)
		}
	}
	if want := 2*len(schema.Tables()) + 1; len(statements) != want {
		t.Fatalf("policies.sql has %d statements, want two for each table and the quota: %d", len(statements), want)
	}
	for _, user := range []string{"ingest", "keeper", "reader", "migrate"} {
		for _, grant := range grantsOf(t, user) {
			statements = append(statements, grant+" TO "+user)
		}
	}
	for _, s := range statements {
		var kind string
		if err := c.QueryRow(t.Context(), "SELECT formatQuerySingleLine({s:String})", clickhouse.Param("s", s)).Scan(&kind); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	var none string
	if c.QueryRow(t.Context(), "SELECT formatQuerySingleLine({s:String})", clickhouse.Param("s", "CREATE ROW POLICY x ON y FOR SELECT USES z")).Scan(&none) == nil {
		t.Error("the engine takes anything")
	}
}
