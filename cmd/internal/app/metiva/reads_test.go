package metiva

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/embedded/postgres/postgrestest"
	"github.com/metiva-io/metiva/pkg/secret"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

func TestMain(m *testing.M) {
	if clickhousetest.IsChild() {
		os.Exit(clickhousetest.Main(m))
	}
	postgrestest.Main(m)
}

// reads is a migrated engine and the command line that asks it.
type reads struct {
	t    *testing.T
	url  string
	conn *clickhouse.Conn
}

func newReads(t *testing.T) *reads {
	t.Helper()
	r := &reads{t: t, url: clickhousetest.Start(t).URL()}
	var err error
	if r.conn, err = clickhouse.Open(clickhouse.Config{URL: secret.New(r.url)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.conn.Close() })
	if _, err := clickhouse.Migrate(context.Background(), r.conn, schema.Files, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *reads) insert(table, company string, columns map[string]any) {
	r.t.Helper()
	list := []clickhouse.Column{{Name: "tenant_bucket", Values: []uint8{schemas.TenantBucket(company)}}, {Name: "company_id", Values: []string{company}}}
	for name, values := range columns {
		list = append(list, clickhouse.Column{Name: name, Values: values})
	}
	if err := r.conn.Insert(context.Background(), table, "", list); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reads) run(args ...string) (string, error) {
	var out bytes.Buffer
	err := Run(context.Background(), app.System{Args: append(args, "--clickhouse-url", r.url), Stdout: &out, Stderr: io.Discard})
	return out.String(), err
}

// TestLedgerFailsWhenItDoesNotBalance: for the tenant that lacks an event and for all
// together, and not for the one that lacks none.
func TestLedgerFailsWhenItDoesNotBalance(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	now := time.Now().UTC()
	for company, accepted := range map[string]uint64{"cmp_a": 2, "cmp_b": 1} {
		r.insert("ledger_edge", company, map[string]any{
			"minute": []time.Time{now.Truncate(time.Minute)}, "stage": []string{"collector"}, "reason": []string{"none"}, "writer_id": []string{"w"}, "count": []uint64{accepted},
		})
		r.insert("events", company, map[string]any{
			"event_id": [][]byte{{1}}, "received_at": []time.Time{now}, "writer_id": []string{"w"}, "expires_at": []time.Time{now.AddDate(1, 0, 0)},
		})
	}
	for _, try := range []struct {
		args    []string
		balance bool
	}{
		{[]string{"ledger", "--tenant", "cmp_a", "--since", "1h"}, false},
		{[]string{"ledger", "--tenant", "cmp_b", "--since", "1h"}, true},
		{[]string{"ledger"}, false},
	} {
		out, err := r.run(try.args...)
		if try.balance != (err == nil) || !try.balance && !errors.Is(err, errUnbalanced) || !strings.Contains(out, `"missing"`) {
			t.Errorf("%v: %v\n%s", try.args, err, out)
		}
	}
	if _, err := r.run("ledger", "--tenant", "cmp_nobody"); err == nil {
		t.Error("a tenant without a row balances")
	}
}

// TestCompaniesShowTheirScore, where visits were scored.
func TestCompaniesShowTheirScore(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	company := tenant.NewID(tenant.PrefixCompany)
	now, later := time.Now().UTC(), time.Now().AddDate(1, 0, 0)
	r.insert("events", company, map[string]any{
		"event_id": [][]byte{{1}}, "visit_key": [][]byte{{1}}, "received_at": []time.Time{now}, "expires_at": []time.Time{later}, "type": []string{"page_view"},
		"verdict": []string{"company"}, "account_id": []string{"ing.nl"}, "account_name": []string{"ING"}, "confidence": []float32{0.75}, "resolution_source": []string{"asn"},
	})
	r.insert("visits", company, map[string]any{
		"visit_id": [][]byte{{1}}, "started_at": []time.Time{now}, "expires_at": []time.Time{later}, "verdict": []string{"company"}, "account_id": []string{"ing.nl"},
		"account_name": []string{"ING"}, "page_views": []uint32{3}, "version": []uint64{2},
	})
	r.insert("accounts_daily", company, map[string]any{
		"day": []time.Time{now}, "account_id": []string{"ing.nl"}, "score": []uint8{67}, "version": []uint64{1}, "expires_at": []time.Time{later},
	})
	out, err := r.run("companies", "--company", company)
	if err != nil || !strings.Contains(out, "67") || !strings.Contains(out, "ING") {
		t.Errorf("%v\n%s", err, out)
	}
}
