package clickhouse

import (
	"errors"
	"strings"
	"testing"
)

func TestStatementsFromOutside(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sql  string
		body bool
		code int // 0: accepted
	}{
		{"SELECT 1", false, 0},
		{" -- note\n (SELECT 1);", false, 0},
		{"WITH x AS (SELECT 1) SELECT * FROM x", false, 0},
		{"SELECT 'SETTINGS max_threads = 1'", false, 0},
		{"SELECT 'it''s \\' SETTINGS x = 1' -- SETTINGS\n/* SETTINGS */", false, 0},
		{"SELECT `settings` FROM \"SETTINGS\"", false, 0},
		{"SELECT * FROM system.settings", false, 0},
		{"SELECT * FROM `system`.settings", false, 0},
		{"SELECT $x$ SETTINGS $x$", false, 0},
		{"SELECT '日本'", false, 0},
		{"CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS index_granularity = 1", false, 0},
		{"ALTER TABLE t MODIFY SETTING x = 1", false, 0},
		{"DESCRIBE TABLE t", false, 0},
		{"INSERT INTO t VALUES (1), (2)", false, 0},
		{"INSERT INTO t SELECT 1", false, 0},
		{"INSERT INTO t (a) FORMAT Native", true, 0},
		{"insert into t format Native;", true, 0},

		{"SELECT 1 SETTINGS max_threads = 1", false, codeAccessDenied},
		{"SELECT 1 settings max_threads = 1", false, codeAccessDenied},
		{"SELECT 1/**/SETTINGS/**/max_threads = 1", false, codeAccessDenied},
		{"SELECT * FROM t WHERE a = 1. SETTINGS x = 1", false, codeAccessDenied},
		{"SELECT * FROM t WHERE a = '' SETTINGS x = 1", false, codeAccessDenied},
		{"SELECT '\\\\' SETTINGS x = 1, y = '\\\\'", false, codeAccessDenied},
		{"SELECT * FROM (SELECT 1 SETTINGS x = 1)", false, codeAccessDenied},
		{"INSERT INTO t SETTINGS async_insert = 1 VALUES (1)", false, codeAccessDenied},
		{"INSERT INTO t SETTINGS async_insert = 1 FORMAT Native", true, codeAccessDenied},
		{"CREATE TABLE t ENGINE = MergeTree ORDER BY a AS SELECT 1 AS a SETTINGS x = 1", false, codeAccessDenied},
		{"EXPLAIN SELECT 1 SETTINGS x = 1", false, codeAccessDenied},
		{"SET max_threads = 1", false, codeAccessDenied},
		{"USE system", false, codeAccessDenied},
		{"ATTACH TABLE t FROM '/tmp/x' (a UInt8) ENGINE = MergeTree", false, codeAccessDenied},
		{"BACKUP TABLE t TO Disk('a', 'b')", false, codeAccessDenied},
		{"SYSTEM SHUTDOWN", false, codeAccessDenied},
		{"SELECT 1 INTO OUTFILE '/tmp/x'", false, codeAccessDenied},
		{"SELECT 1 into/**/outfile '/tmp/x'", false, codeAccessDenied},
		{"INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV", false, codeAccessDenied},
		{"CREATE TABLE t (a UInt8) ENGINE = Null PARALLEL WITH SELECT 1", false, codeAccessDenied},

		{"", false, codeSyntaxError},
		{"-- nothing", false, codeSyntaxError},
		{"SELECT 1; SELECT 2", false, codeSyntaxError},
		{"SELECT 1;; DROP TABLE t", false, codeSyntaxError},
		{"SELECT 'open", false, codeSyntaxError},
		{"SELECT /* open", false, codeSyntaxError},
		{"SELECT /* a /* b */ 1 */", false, codeSyntaxError},
		{"SELECT 1 // SETTINGS", false, codeSyntaxError},
		{"SELECT 1 # SETTINGS", false, codeSyntaxError},
		{"SELECT ‘a’", false, codeSyntaxError},
		{"SELECT\u00a01", false, codeSyntaxError},
		{"SELECT $1", false, codeSyntaxError},
		{"INSERT INTO t FORMAT Native", false, codeBadArguments},
		{"INSERT INTO t FORMAT JSONEachRow {\"a\": 1}", false, codeBadArguments},
		{"INSERT INTO t FORMAT CSV 1", true, codeBadArguments},
		{"INSERT INTO t VALUES (1)", true, codeBadArguments},
		{"SELECT 1", true, codeBadArguments},
	} {
		_, err := parseStatement(c.sql, c.body)
		code := 0
		var e *Error
		if errors.As(err, &e) {
			code = e.Code
		}
		if code != c.code {
			t.Errorf("%s: code %d (%v), want %d", c.sql, code, err, c.code)
		}
	}
}

func TestInsertIsCutBeforeItsFormat(t *testing.T) {
	t.Parallel()
	st, err := parseStatement("INSERT INTO `format Native` (a, format) FORMAT Native ;", true)
	if err != nil || st.kind != kindInsert || st.format != "Native" || st.sql != "INSERT INTO `format Native` (a, format) " {
		t.Errorf("%+v, %v", st, err)
	}
}

// FuzzParseStatement holds the shim to its promise: whatever is accepted as a
// read has no SETTINGS outside of quotes and comments.
func FuzzParseStatement(f *testing.F) {
	for _, s := range []string{"SELECT 1", "SELECT 'a' SETTINGS x=1", "SELECT $a$b$a$", "INSERT INTO t FORMAT Native", "SELECT `a``b`.settings", "SELECT 1.SETTINGS"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		st, err := parseStatement(sql, false)
		if err != nil {
			return
		}
		if st.sql != sql {
			t.Fatalf("%q became %q", sql, st.sql)
		}
		// Nothing opaque in it: the plain words decide.
		if strings.ContainsAny(sql, "'\"`$./-") {
			return
		}
		words := strings.FieldsFunc(strings.ToUpper(sql), func(r rune) bool {
			return r != '_' && r != '$' && (r < '0' || r > '9') && (r < 'A' || r > 'Z')
		})
		for _, w := range words {
			if w == "SETTINGS" && st.kind == kindRead {
				t.Fatalf("%q was accepted", sql)
			}
		}
	})
}
