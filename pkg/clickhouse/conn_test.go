package clickhouse_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/secret"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"http+unix:///run/ch.sock?database=metiva":    "",
		"http://user:pass@localhost:8123/metiva":      "",
		"https://user:pass@ch.example.eu:8443/metiva": "",
		"clickhouse://127.0.0.1:9000/metiva":          "",
		"clickhouses://ch.example.eu:9440/metiva":     "",
		"":                            "not set",
		"postgres://localhost/metiva": "starts with none",
		"http+unix://run/ch.sock?database=metiva": "three slashes",
		"http+unix:///run/ch.sock":                "names no database",
		"http://localhost:8123/":                  "names no database",
		"http://localhost:8123/Metiva;drop":       "names no database",
		"http://localhost/metiva":                 "no host and port",
		"http://localhost:8123/metiva?compress=1": "parameters other than database",
		"http://u:hunter2@local host:8123/x":      "cannot be read",
	} {
		err := clickhouse.Config{URL: secret.New(url)}.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
	if err := (clickhouse.Config{DialTimeout: -1, ConnectionsMax: -1}).Validate(); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("three faults give %v", err)
	}
}

func TestPlaintextRemote(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]bool{
		"http+unix:///run/ch.sock?database=metiva": false,
		"http://localhost:8123/metiva":             false,
		"clickhouse://[::1]:9000/metiva":           false,
		"clickhouse://127.0.0.1:9000/metiva":       false,
		"http://ch.example.eu:8123/metiva":         true,
		"clickhouse://10.0.0.1:9000/metiva":        true,
		"https://ch.example.eu:8443/metiva":        false,
	} {
		if got := (clickhouse.Config{URL: secret.New(url)}).PlaintextRemote(); got != want {
			t.Errorf("%s: %v", url, got)
		}
	}
}

func TestStatements(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := openEmpty(t)
	for _, s := range []string{"", "it's", `back\slash`, "tab\tline\nreturn\r", "日本", "a\x00b", `{x:String}`} {
		var got string
		if err := c.QueryRow(ctx, "SELECT {s:String}", clickhouse.Param("s", s)).Scan(&got); err != nil || got != s {
			t.Errorf("parameter %q came back as %q, %v", s, got, err)
		}
	}
	var total uint64
	texts := []string{"", "it's", `back\slash`, "tab\tline\nreturn\r", "日本", "a\x00b"}
	var joined string
	if err := c.QueryRow(ctx, "SELECT arrayStringConcat({a:Array(String)}, '|')", clickhouse.Param("a", texts)).Scan(&joined); err != nil || joined != strings.Join(texts, "|") {
		t.Errorf("an array came back as %q, %v", joined, err)
	}
	at := time.Date(2026, 11, 22, 7, 0, 0, 123e6, time.FixedZone("CET", 3600))
	var back time.Time
	if err := c.QueryRow(ctx, "SELECT {at:DateTime64(3, 'UTC')}", clickhouse.Param("at", at)).Scan(&back); err != nil || !back.Equal(at) {
		t.Errorf("a time came back as %s, %v", back, err)
	}
	var one uint8
	if err := c.QueryRow(ctx, "SELECT {x:UInt8}", clickhouse.Param("x", 1.5)).Scan(&one); err == nil {
		t.Error("a parameter of another type was sent")
	}
	err := c.QueryRow(ctx, "SELECT sum(arrayJoin({n:Array(UInt64)})) + {m:UInt64} + length({a:Array(String)})",
		clickhouse.Param("n", []uint64{1, 2, 3}), clickhouse.Param("m", 10), clickhouse.Param("a", []string{"x", "it's"})).Scan(&total)
	if err != nil || total != 18 {
		t.Errorf("sum of parameters is %d, %v", total, err)
	}
	var threads, comment string
	get := "SELECT toString(getSetting('max_threads')), getSetting('log_comment')"
	if err := c.QueryRow(ctx, get, clickhouse.Setting("max_threads", 1), clickhouse.Setting("log_comment", "it's")).Scan(&threads, &comment); err != nil || threads != "1" || comment != "it's" {
		t.Errorf("settings are %q and %q, %v", threads, comment, err)
	}
	for range 20 { // more than the engine has connections
		if err := c.QueryRow(ctx, get).Scan(&threads, &comment); err != nil || comment != "" {
			t.Fatalf("settings of another statement stayed: %q, %v", comment, err)
		}
	}
	for sql, want := range map[string]int{
		"SELECT * FROM nosuch":              clickhouse.CodeUnknownTable,
		"SELECT nosuch FROM system.one":     47,
		"SELECT 1 SETTINGS max_threads = 1": clickhouse.CodeAccessDenied,
	} {
		err := c.Each(ctx, sql, func(func(...any) error) error { return nil })
		if code, ok := clickhouse.Code(err); !ok || code != want {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if _, ok := clickhouse.Code(errors.New("other")); ok {
		t.Error("an error of another origin has a code")
	}
}

func TestMidStreamErrorIsTyped(t *testing.T) {
	t.Parallel()
	c := openEmpty(t)
	rows := 0
	err := c.Each(context.Background(), "SELECT number, throwIf(number = 3000000, 'boom') FROM numbers(5000000)", func(func(...any) error) error {
		rows++
		return nil
	})
	if code, _ := clickhouse.Code(err); code != 395 {
		t.Fatalf("after %d rows: %v", rows, err)
	}
}

func TestInsert(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := openEmpty(t)
	must := func(sql string) {
		t.Helper()
		if err := c.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	must(`CREATE TABLE t (id FixedString(4), n Int64, s LowCardinality(String), at DateTime64(3, 'UTC'), raw String, CONSTRAINT small CHECK n < 1000)
		ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100`)
	must(`CREATE TABLE sums (s LowCardinality(String), n SimpleAggregateFunction(sum, Int64))
		ENGINE = AggregatingMergeTree ORDER BY s SETTINGS non_replicated_deduplication_window = 100`)
	must(`CREATE MATERIALIZED VIEW sums_mv TO sums AS SELECT s, sum(n) AS n FROM t GROUP BY s`)
	at := time.Date(2026, 11, 22, 7, 0, 0, 123e6, time.UTC)
	raw := []byte("\x00\n\xff'\\;FORMAT")
	insert := func(token string, ns ...int64) error {
		columns := []clickhouse.Column{{Name: "n", Values: ns}}
		ids, ss, ats, raws := make([][]byte, len(ns)), make([]string, len(ns)), make([]time.Time, len(ns)), make([]string, len(ns))
		for i := range ns {
			ids[i], ss[i], ats[i], raws[i] = []byte("abcd"), "x", at, string(raw)
		}
		columns = append(columns, clickhouse.Column{Name: "id", Values: ids}, clickhouse.Column{Name: "s", Values: ss},
			clickhouse.Column{Name: "at", Values: ats}, clickhouse.Column{Name: "raw", Values: raws})
		return c.Insert(ctx, "t", token, columns)
	}
	for range 3 {
		if err := insert("one", 1, 2, 3); err != nil {
			t.Fatal(err)
		}
	}
	if err := insert("two", 4); err != nil {
		t.Fatal(err)
	}
	if err := insert("empty"); err != nil {
		t.Fatal(err)
	}
	var rows uint64
	var n, viewed int64
	if err := c.QueryRow(ctx, "SELECT count(), sum(n) FROM t").Scan(&rows, &n); err != nil || rows != 4 || n != 10 {
		t.Errorf("%d rows with sum %d, %v: a repeated token was inserted again", rows, n, err)
	}
	if err := c.QueryRow(ctx, "SELECT sum(n) FROM sums").Scan(&viewed); err != nil || viewed != 10 {
		t.Errorf("the view has %d, %v", viewed, err)
	}
	var id, gotRaw string
	var gotAt time.Time
	if err := c.QueryRow(ctx, "SELECT id, at, raw FROM t LIMIT 1").Scan(&id, &gotAt, &gotRaw); err != nil || id != "abcd" || !gotAt.Equal(at) || gotRaw != string(raw) {
		t.Errorf("row came back as %q %s %q, %v", id, gotAt, gotRaw, err)
	}
	err := insert("bad", 5, 1000, 6)
	if code, _ := clickhouse.Code(err); code != clickhouse.CodeViolatedConstraint || !clickhouse.DataFault(err) {
		t.Errorf("a row that breaks a constraint gives %v", err)
	}
	err = c.Insert(ctx, "t", "x", []clickhouse.Column{{Name: "id", Values: [][]byte{bytes.Repeat([]byte{1}, 4)}}, {Name: "n", Values: []string{"text"}}})
	if !clickhouse.DataFault(err) || !errors.Is(err, clickhouse.ErrBadColumn) {
		t.Errorf("a column of the wrong type gives %v", err)
	}
	err = c.Insert(ctx, "nosuch", "x", []clickhouse.Column{{Name: "n", Values: []int64{1}}})
	if clickhouse.DataFault(err) {
		t.Errorf("a missing table is called a fault of the data: %v", err)
	}
}

func TestCancelEndsTheStatementInTheEngine(t *testing.T) {
	t.Parallel()
	c := openEmpty(t)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	var n uint64
	if err := c.QueryRow(ctx, "SELECT max(sipHash64(number)) FROM numbers(100000000000)").Scan(&n); err == nil {
		t.Fatal("the statement ended by itself")
	}
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.QueryRow(context.Background(), "SELECT count() FROM system.processes WHERE query LIKE '%100000000000%' AND query NOT LIKE '%processes%'").Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the statement still runs 20 s after its client left")
		}
	}
}

// openEmpty is a connection to an empty database of an engine of its own.
func openEmpty(t *testing.T) *clickhouse.Conn {
	t.Helper()
	c := open(t, strings.Replace(clickhousetest.Start(t).URL(), "database=metiva", "database=default", 1))
	return c
}

func FuzzSplitStatements(f *testing.F) {
	for _, s := range []string{"SELECT 1; SELECT ';'", "-- a;\nSELECT 1", "/* ; */ ;", "$x$;$x$;", "`a;`", `'\';'`, "''';'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		statements, err := clickhouse.SplitStatements(sql)
		if err != nil {
			return
		}
		for _, s := range statements {
			again, err := clickhouse.SplitStatements(s)
			if err != nil || len(again) != 1 || again[0] != s {
				t.Fatalf("%q of %q splits again into %q, %v", s, sql, again, err)
			}
		}
	})
}

func TestSplitStatements(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string][]string{
		"":                                    nil,
		" ;; -- nothing\n ; /* ; */":          nil,
		"SELECT 1":                            {"SELECT 1"},
		"SELECT 1;\nSELECT 2;\n":              {"SELECT 1", "SELECT 2"},
		"SELECT ';' ; SELECT \";\", `;`":      {"SELECT ';'", "SELECT \";\", `;`"},
		`SELECT '\';', ''';' ; SELECT 2`:      {`SELECT '\';', ''';'`, "SELECT 2"},
		"SELECT 1 -- a;b\n; SELECT /* ; */ 2": {"SELECT 1 -- a;b", "SELECT /* ; */ 2"},
		"SELECT $t$;$t$; SELECT $$;$$":        {"SELECT $t$;$t$", "SELECT $$;$$"},
	} {
		got, err := clickhouse.SplitStatements(sql)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) || len(got) != len(want) {
			t.Errorf("%q splits into %q, %v", sql, got, err)
		}
	}
	for _, sql := range []string{"SELECT '", "/* ", "`a", "$x$ ", `'\'`} {
		if got, err := clickhouse.SplitStatements(sql); err == nil {
			t.Errorf("%q splits into %q", sql, got)
		}
	}
}
