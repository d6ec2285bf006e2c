package clickhouse_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/embedded/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/waittest"
)

func TestMain(m *testing.M) { os.Exit(clickhousetest.Main(m)) }

// raw is a plain HTTP client of a server's socket.
type raw struct {
	t      *testing.T
	client http.Client
}

func rawClient(t *testing.T, s *clickhousetest.Server) *raw {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.Config().SocketPath)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &raw{t: t, client: http.Client{Transport: transport}}
}

// do returns the status, the exception code and the body.
func (r *raw) do(values url.Values, body io.Reader) (int, string, string) {
	r.t.Helper()
	res, err := r.client.Post("http://clickhouse/?"+values.Encode(), "application/octet-stream", body)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("X-ClickHouse-Exception-Code"), string(b)
}

// run sends the statement as the body and fails the test on an error.
func (r *raw) run(sql string) string {
	r.t.Helper()
	status, _, body := r.do(nil, strings.NewReader(sql))
	if status != http.StatusOK {
		r.t.Fatalf("%s: %d %s", sql, status, body)
	}
	return strings.TrimSpace(body)
}

func TestOnlyTheOwnerMayConnect(t *testing.T) {
	t.Parallel()
	s := clickhousetest.Start(t)
	for path, want := range map[string]os.FileMode{s.Config().SocketPath: 0o600, s.Config().DataDir: 0o700} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	r := rawClient(t, clickhousetest.StartConfig(t, clickhouse.Config{QueryBytesMax: 1000, BodyBytesMax: 2000}))
	r.run("CREATE TABLE t (a String) ENGINE = MergeTree ORDER BY a SETTINGS index_granularity = 8192")
	insert := url.Values{"query": {"INSERT INTO t FORMAT TabSeparated"}}
	for name, c := range map[string]struct {
		values url.Values
		body   string
		code   string
	}{
		"settings clause":   {nil, "SELECT 1 SETTINGS max_threads = 1", "497"},
		"files":             {nil, "SELECT * FROM file('/etc/passwd', 'LineAsString')", "497"},
		"urls":              {nil, "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')", "497"},
		"other servers":     {nil, "SELECT * FROM remote('127.0.0.1:1', system.one)", "497"},
		"engine of files":   {nil, "CREATE TABLE f (a UInt8) ENGINE = File(CSV)", "497"},
		"compression":       {url.Values{"compress": {"1"}}, "SELECT 1", "36"},
		"sessions":          {url.Values{"session_id": {"x"}}, "SELECT 1", "36"},
		"a setting's name":  {url.Values{"a=1,b": {"x"}}, "SELECT 1", "115"},
		"unknown setting":   {url.Values{"nosuch": {"x"}}, "SELECT 1", "115"},
		"long statement":    {nil, "SELECT '" + strings.Repeat("a", 1000) + "'", "62"},
		"long body":         {insert, strings.Repeat("a\n", 1500), "307"},
		"unknown table":     {nil, "SELECT * FROM nosuch", "60"},
		"unknown database":  {url.Values{"database": {"no`such"}}, "SELECT 1", "81"},
		"two statements":    {nil, "SELECT 1; SELECT 2", "62"},
		"setting injection": {url.Values{"log_comment": {`\', max_threads = 1, log_comment = '`}}, "SELECT throwIf(getSetting('log_comment') != '\\\\\\', max_threads = 1, log_comment = \\'')", ""},
	} {
		if _, code, body := r.do(c.values, strings.NewReader(c.body)); code != c.code {
			t.Errorf("%s: code %q, want %q (%s)", name, code, c.code, body)
		}
	}
	if got := r.run("SELECT count() FROM t"); got != "0" {
		t.Errorf("%s rows of a refused insert", got)
	}
	if status, _, body := r.do(insert, strings.NewReader("x\ny\n")); status != http.StatusOK {
		t.Errorf("after the refusals: %d %s", status, body)
	}
	if got := r.run("SELECT groupArray(a) FROM t"); got != "['x','y']" {
		t.Errorf("after the refusals the rows are %s", got)
	}
}

func TestInsertsCutOffLeaveNothing(t *testing.T) {
	t.Parallel()
	s := clickhousetest.Start(t)
	r := rawClient(t, s)
	r.run("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	body, writer := io.Pipe()
	go func() {
		_, _ = writer.Write(bytes.Repeat([]byte("12345678"), 1000))
		writer.CloseWithError(errors.New("the client's body ends here"))
	}()
	res, err := r.client.Post("http://clickhouse/?query="+url.QueryEscape("INSERT INTO t FORMAT RowBinary"), "", body)
	if err == nil {
		_ = res.Body.Close()
		t.Fatal("a request without its end was answered")
	}
	// The next statements find the connections in order and no rows.
	for range 20 {
		if got := r.run("SELECT count() FROM t"); got != "0" {
			t.Fatalf("%s rows of an insert that was cut off", got)
		}
	}
}

func TestTooManyStatementsWaitAndAreRefused(t *testing.T) {
	t.Parallel()
	s := clickhousetest.StartConfig(t, clickhouse.Config{ConcurrentStatementsMax: 1, QueueTimeout: 200 * time.Millisecond})
	r := rawClient(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://clickhouse/", strings.NewReader("SELECT max(sipHash64(number)) FROM numbers(100000000000)"))
	if err != nil {
		t.Fatal(err)
	}
	running := make(chan struct{})
	go func() {
		defer close(running)
		if res, err := r.client.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	}()
	waittest.Until(t, 20*time.Second, "the only connection is taken", func() bool {
		_, code, _ := r.do(nil, strings.NewReader("SELECT 1"))
		return code == "202"
	})
	cancel()
	<-running
	waittest.Until(t, 20*time.Second, "it is free again", func() bool {
		status, _, _ := r.do(nil, strings.NewReader("SELECT 1"))
		return status == http.StatusOK
	})
}

func TestKilledEngineComesBackWithItsData(t *testing.T) {
	t.Parallel()
	s := clickhousetest.Start(t)
	rawClient(t, s).run("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	for i := range 5 {
		if status, _, body := rawClient(t, s).do(url.Values{"query": {"INSERT INTO t FORMAT TSV"}}, strings.NewReader(fmt.Sprintln(i))); status != http.StatusOK {
			t.Fatal(body)
		}
		s.Kill()
		s.Restart() // over a stale socket and a lock that died with its holder
	}
	if got := rawClient(t, s).run("SELECT count() FROM t"); got != "5" {
		t.Errorf("%s of 5 acknowledged rows are there", got)
	}
	if got := rawClient(t, s).run("SELECT groupArray(value) FROM (SELECT value FROM system.merge_tree_settings WHERE name IN ('fsync_after_insert', 'fsync_part_directory', 'min_rows_to_fsync_after_merge') ORDER BY name)"); got != "['1','1','1']" {
		t.Errorf("inserts and merges are not synced: %s", got)
	}
}

func TestOneProcessPerDataDirectory(t *testing.T) {
	t.Parallel()
	s := clickhousetest.Start(t)
	cfg := s.Config()
	cfg.LockTimeout = 100 * time.Millisecond
	cfg.SocketPath += "2"
	err := clickhouse.Serve(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "another process (pid ") {
		t.Errorf("a second engine on the same data: %v", err)
	}
}

func TestStopsWithinSecondsUnderLoad(t *testing.T) {
	t.Parallel()
	s := clickhousetest.StartConfig(t, clickhouse.Config{DrainTimeout: time.Second})
	r := rawClient(t, s)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		res, err := r.client.Post("http://clickhouse/", "", strings.NewReader("SELECT max(sipHash64(number)) FROM numbers(100000000000)"))
		if err == nil {
			_ = res.Body.Close()
		}
	}()
	waittest.Until(t, 20*time.Second, "the long statement runs", func() bool {
		return r.run("SELECT count() FROM system.processes WHERE query LIKE '%100000000000%' AND query NOT LIKE '%processes%'") == "1"
	})
	start := time.Now()
	s.Stop()
	<-ended
	if d := time.Since(start); d > 6*time.Second {
		t.Errorf("stopping took %s", d)
	}
	if _, err := os.Stat(s.Config().SocketPath); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	s.Restart()
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	ok := clickhouse.Config{LibraryPath: "/lib/libchdb.so", DataDir: "/var/lib/metiva", SocketPath: "/run/" + strings.Repeat("a", 102)}
	if err := ok.Validate(); err != nil {
		t.Errorf("107 bytes of path: %v", err)
	}
	long := ok
	long.SocketPath += "a"
	if err := long.Validate(); err == nil || !strings.Contains(err.Error(), "108 bytes long") || !strings.Contains(err.Error(), "at most 107") {
		t.Errorf("108 bytes of path: %v", err)
	}
	if err := (clickhouse.Config{QueryBytesMax: -1}).Validate(); err == nil || len(strings.Split(err.Error(), "\n")) != 4 {
		t.Errorf("four faults: %v", err)
	}
	if err := clickhouse.Serve(context.Background(), clickhouse.Config{}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("an empty configuration is served")
	}
}
