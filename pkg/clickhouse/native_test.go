package clickhouse_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/clickhouse/nativetest"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/secret"
)

// TestBothProtocols: statements, parameters, typed errors, inserts with their tokens
// and dictionaries do the same over the native protocol, plain and with TLS, as over
// HTTP, where the other tests of this package are.
func TestBothProtocols(t *testing.T) {
	t.Parallel()
	engine := clickhousetest.Start(t)
	withTLS := httptest.NewUnstartedServer(nil)
	withTLS.StartTLS()
	t.Cleanup(withTLS.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: withTLS.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	plain, secured := nativetest.Open(t, engine.Config().SocketPath, nil), nativetest.Open(t, engine.Config().SocketPath, &withTLS.TLS.Certificates[0])
	for name, cfg := range map[string]clickhouse.Config{
		"http":           {URL: secret.New("http+unix://" + engine.Config().SocketPath + "?database=default")},
		"https":          {URL: secret.New("https://" + openDoor(t, engine, true).address() + "/default"), TLSCAFile: ca},
		"native":         {URL: secret.New("clickhouse://" + plain.Address() + "/default")},
		"native and TLS": {URL: secret.New("clickhouses://" + secured.Address() + "/default"), TLSCAFile: ca},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := clickhouse.Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			checkProtocol(t, c, "t_"+strings.ReplaceAll(name, " ", "_"))
		})
	}
	c, err := clickhouse.Open(clickhouse.Config{URL: secret.New("clickhouses://" + secured.Address() + "/default")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Ping(context.Background()); err == nil {
		t.Error("a certificate of nobody we know is taken")
	}
}

func checkProtocol(t *testing.T, c *clickhouse.Conn, table string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Exec(ctx, "CREATE TABLE "+table+" (n UInt64, at DateTime64(3, 'UTC'), word LowCardinality(String), raw String, m Map(String, String), CONSTRAINT small CHECK n < 1000) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100"); err != nil {
		t.Fatal(err)
	}
	insert := func(token string, numbers ...uint64) error {
		words := clickhouse.NewDictionary()
		times, raws, maps := make([]int64, len(numbers)), make([][]byte, len(numbers)), make([]map[string]string, len(numbers))
		for i, n := range numbers {
			words.Add(fmt.Sprintf("word %d", n%2))
			times[i], raws[i], maps[i] = 1_790_000_000_000+int64(n), []byte("\x00\n\xff'"), map[string]string{"k": fmt.Sprint(n)}
		}
		return c.Insert(ctx, table, token, []clickhouse.Column{
			{Name: "n", Values: numbers}, {Name: "at", Values: times}, {Name: "word", Values: words}, {Name: "raw", Values: raws}, {Name: "m", Values: maps},
		})
	}
	for _, token := range []string{"a", "a", "b"} { // the second is no insert
		if err := insert(token, 1, 2, 3); err != nil {
			t.Fatal(err)
		}
	}
	if err := insert("c", 5000); !clickhouse.DataFault(err) {
		t.Errorf("a refused row: %v", err)
	}
	for _, hostile := range []string{"it's", `back\slash`, "tab\tline\n", "日本", `{x:String}`} {
		var back string
		if err := c.QueryRow(ctx, "SELECT {s:String}", clickhouse.Param("s", hostile)).Scan(&back); err != nil || back != hostile {
			t.Errorf("parameter %q came back as %q, %v", hostile, back, err)
		}
	}
	rows := 0
	err := c.Each(ctx, "SELECT n, at, word, raw, m['k'] FROM "+table+" WHERE n IN {ns:Array(UInt64)}", func(scan func(...any) error) error {
		var n uint64
		var at time.Time
		var word, raw, k string
		if err := scan(&n, &at, &word, &raw, &k); err != nil {
			return err
		}
		if rows++; at.UnixMilli() != 1_790_000_000_000+int64(n) || word != fmt.Sprintf("word %d", n%2) || raw != "\x00\n\xff'" || k != fmt.Sprint(n) {
			t.Errorf("row %d is %s, %q, %q, %q", n, at, word, raw, k)
		}
		return nil
	}, clickhouse.Param("ns", []uint64{1, 2, 3}), clickhouse.Setting("max_threads", 1))
	if err != nil || rows != 6 {
		t.Errorf("%d rows, %v", rows, err)
	}
	if err := c.Exec(ctx, "DROP TABLE nosuch"); err == nil {
		t.Error("a table that is not there is dropped")
	} else if code, _ := clickhouse.Code(err); code != clickhouse.CodeUnknownTable {
		t.Errorf("code %d: %v", code, err)
	}
}
