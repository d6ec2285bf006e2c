package clickhouse_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/secret"
)

func readStream(ctx context.Context, c *clickhouse.Conn, sql, format string, options ...clickhouse.Option) ([]byte, error) {
	rows, err := c.Stream(ctx, sql, format, options...)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(rows)
	return b, errors.Join(err, rows.Close())
}

// TestStreamIsWhole: an answer of many blocks is one document, its parameters and
// settings are those given, and one that fails on its way never ends as a whole one does.
func TestStreamIsWhole(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := open(t, strings.Replace(clickhousetest.Start(t).URL(), "database=metiva", "database=default", 1))
	blocks := clickhouse.Setting("max_block_size", 1000)
	for format, lines := range map[string]int{"JSONEachRow": 20_000, "CSVWithNames": 20_001} {
		b, err := readStream(ctx, c, "SELECT number AS n, {text:String} AS s FROM numbers({rows:UInt32})", format,
			blocks, clickhouse.Param("rows", 20_000), clickhouse.Param("text", "a'\\\tb"))
		if err != nil || bytes.Count(b, []byte("\n")) != lines || bytes.Count(b, []byte("\"n\"")) != max(1, lines%20_001) {
			t.Errorf("%s: %d lines, %v", format, bytes.Count(b, []byte("\n")), err)
		}
	}
	if b, err := readStream(ctx, c, "SELECT number AS n FROM numbers(20000)", "Parquet", blocks); err != nil || bytes.Count(b, []byte("PAR1")) != 2 {
		t.Errorf("%d ends of Parquet documents, %v", bytes.Count(b, []byte("PAR1")), err)
	}
	for _, format := range []string{"JSONEachRow", "CSVWithNames", "Parquet"} {
		b, err := readStream(ctx, c, "SELECT throwIf(number = 15000) AS n FROM numbers(20000)", format, blocks, clickhouse.Setting("max_threads", 1))
		if code, ok := clickhouse.Code(err); !ok || code != 395 {
			t.Errorf("%s: after %d bytes %v", format, len(b), err)
		}
	}
	if b, err := readStream(ctx, c, "SELECT 1 AS n WHERE 0", "JSONEachRow"); err != nil || len(b) != 0 {
		t.Errorf("no rows are %q, %v", b, err)
	}
	if b, err := readStream(ctx, c, "SELECT 1 AS n WHERE 0", "CSVWithNames"); err != nil || string(b) != "\"n\"\n" {
		t.Errorf("no rows are %q, %v", b, err)
	}
}

// TestStreamThatIsCut: a connection that breaks in the middle is an error, as is the end
// of the caller's patience; a stream that is not read to its end is given up.
func TestStreamThatIsCut(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	engine := clickhousetest.Start(t)
	behind := openDoor(t, engine, false)
	var cut atomic.Bool
	door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cut.Load() {
			w = &cutWriter{ResponseWriter: w, left: 100_000}
		}
		behind.Config.Handler.ServeHTTP(w, r)
	}))
	t.Cleanup(door.Close)
	c, err := clickhouse.Open(clickhouse.Config{URL: secret.New("http://u:hush@" + door.Listener.Addr().String() + "/default")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	const sql = "SELECT number AS n FROM numbers(300000)"
	if b, err := readStream(ctx, c, sql, "JSONEachRow"); err != nil || bytes.Count(b, []byte("\n")) != 300_000 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	cut.Store(true)
	if b, err := readStream(ctx, c, sql, "JSONEachRow"); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("a cut answer ends after %d bytes with %v", len(b), err)
	}
	cut.Store(false)

	patience, give := context.WithCancel(ctx)
	rows, err := c.Stream(patience, "SELECT number AS n FROM system.numbers", "JSONEachRow")
	if err != nil {
		t.Fatal(err)
	}
	give()
	if _, err := io.Copy(io.Discard, rows); err == nil {
		t.Error("an endless answer ended")
	}
	if err := rows.Close(); err != nil {
		t.Error(err)
	}
	if rows, err = c.Stream(ctx, "SELECT number AS n FROM system.numbers", "JSONEachRow"); err != nil {
		t.Fatal(err)
	}
	if err := rows.Close(); err != nil {
		t.Error(err)
	}
	if b, err := readStream(ctx, c, "SELECT 1 AS n", "JSONEachRow"); err != nil || string(b) != "{\"n\":1}\n" {
		t.Errorf("after that: %q, %v", b, err)
	}
}

// cutWriter breaks the connection after some bytes.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return w.ResponseWriter.Write(p)
}

// Flush lets the proxy behind send as it goes.
func (w *cutWriter) Flush() {
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// TestStreamNeedsHTTP: the native protocol writes no formats.
func TestStreamNeedsHTTP(t *testing.T) {
	t.Parallel()
	c := open(t, "clickhouse://127.0.0.1:9/default")
	if _, err := c.Stream(context.Background(), "SELECT 1", "JSONEachRow"); !errors.Is(err, clickhouse.ErrNeedsHTTP) {
		t.Errorf("%v", err)
	}
}
