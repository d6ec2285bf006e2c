package metiva

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/secret"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

func TestMain(m *testing.M) { os.Exit(clickhousetest.Main(m)) }

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
