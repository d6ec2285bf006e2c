package clickhouse_test

import (
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/secret"
)

// door is a TCP address of an embedded engine, which itself has a socket only.
type door struct {
	*httptest.Server
	requests atomic.Int64
}

func (d *door) address() string { return d.Listener.Addr().String() }

func openDoor(t *testing.T, engine *clickhousetest.Server, withTLS bool) *door {
	t.Helper()
	d := new(door)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", engine.Config().SocketPath)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: "clickhouse"})
		r.Out.Header.Del("Authorization")
	}}
	d.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.requests.Add(1)
		proxy.ServeHTTP(w, r)
	}))
	if withTLS {
		d.StartTLS()
	} else {
		d.Start()
	}
	t.Cleanup(d.Close)
	return d
}

// hanging is an address that takes connections and never answers.
func hanging(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestHosts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"https://u:p@a:8443,b:8443/metiva":                      "",
		"clickhouses://a:9440,b:9440,c:9440/metiva":             "",
		"http://127.0.0.1:8123,[::1]:8123/metiva":               "",
		"http://a:8123,b/metiva":                                "further host",
		"http://a:8123,:8123/metiva":                            "further host",
		"http://a:8123," + strings.Repeat("b:1,", 15) + "c:1/x": "more than 16",
	} {
		err := clickhouse.Config{URL: secret.New(text)}.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if !(clickhouse.Config{URL: secret.New("http://127.0.0.1:8123,ch.example.eu:8123/metiva")}).PlaintextRemote() {
		t.Error("the second host is on another machine")
	}
	if err := (clickhouse.Config{URL: secret.New("http://a:8123/metiva"), TLSCAFile: "ca.pem"}).Validate(); err == nil {
		t.Error("a CA file without TLS")
	}
}

// TestFailover: a host that is gone and one that hangs are passed over, and what
// was written before and after is all there, once.
func TestFailover(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	engine := clickhousetest.Start(t)
	first, second := openDoor(t, engine, false), openDoor(t, engine, false)
	c, err := clickhouse.Open(clickhouse.Config{
		URL: secret.New("http://" + hanging(t) + "," + first.address() + "," + second.address() + "/default"), DialTimeout: 3 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Exec(ctx, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100"); err != nil {
		t.Fatal(err)
	}
	insert := func(token string, n uint64) error {
		return c.Insert(ctx, "t", token, []clickhouse.Column{{Name: "n", Values: []uint64{n}}})
	}
	for i, token := range []string{"a", "b"} {
		if err := insert(token, uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if second.requests.Load() != 0 {
		t.Error("the second host is used while the first answers")
	}
	first.CloseClientConnections()
	first.Close()
	// The statements whose connection broke fail; the caller tries again.
	failed := 0
	for insert("c", 2) != nil {
		if failed++; failed > 10 {
			t.Fatal("no other host takes over")
		}
	}
	if err := insert("b", 1); err != nil {
		t.Fatal(err)
	}
	var rows, sum uint64
	if err := c.QueryRow(ctx, "SELECT count(), sum(n) FROM t").Scan(&rows, &sum); err != nil || rows != 3 || sum != 3 {
		t.Errorf("%d rows with sum %d, %v", rows, sum, err)
	}
	if second.requests.Load() == 0 {
		t.Error("nothing went to the second host")
	}
}

// TestTLS: the server is verified by the named authority, and without it refused.
func TestTLS(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d := openDoor(t, clickhousetest.Start(t), true)
	address := secret.New("https://" + d.address() + "/default")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, try := range []struct {
		file string
		ok   bool
	}{{ca, true}, {"", false}} {
		c, err := clickhouse.Open(clickhouse.Config{URL: address, TLSCAFile: try.file, DialTimeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Ping(ctx); (err == nil) != try.ok {
			t.Errorf("with the authority %t: %v", try.ok, err)
		}
		_ = c.Close()
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, filepath.Join(t.TempDir(), "none.pem")} {
		if _, err := clickhouse.Open(clickhouse.Config{URL: address, TLSCAFile: file}); err == nil {
			t.Errorf("%s makes a pool", file)
		}
	}
}
