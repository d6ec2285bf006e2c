package clickhouse_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
)

// TestDocumentsAreWhole: an answer in a format with a beginning or an end is one
// document however many blocks it has, an error comes instead of it, and no file of it
// stays.
func TestDocumentsAreWhole(t *testing.T) {
	t.Parallel()
	s := clickhousetest.Start(t)
	r := rawClient(t, s)
	left := filepath.Join(s.Config().DataDir, "answers")
	ask := func(format, sql string) (int, string) {
		t.Helper()
		status, _, body := r.do(url.Values{"default_format": {format}, "param_text": {"it's \\\\ a -- text"}, "max_block_size": {"1000"}}, strings.NewReader(sql))
		if files, err := os.ReadDir(left); err != nil || len(files) > 0 {
			t.Errorf("%d answers are left, %v", len(files), err)
		}
		return status, body
	}
	const sql = "SELECT number AS n, {text:String} AS s FROM numbers(5000) -- a comment"
	if status, body := ask("CSVWithNames", sql); status != http.StatusOK || strings.Count(body, `"n"`) != 1 || strings.Count(body, "\n") != 5001 || !strings.Contains(body, "it's \\ a -- text") {
		t.Errorf("%d, %d lines: %.100s", status, strings.Count(body, "\n"), body)
	}
	if status, body := ask("Parquet", sql); status != http.StatusOK || strings.Count(body, "PAR1") != 2 || !strings.HasPrefix(body, "PAR1") || !strings.HasSuffix(body, "PAR1") {
		t.Errorf("%d, %d bytes", status, len(body))
	}
	if status, body := ask("Parquet", "SELECT throwIf(number = 4000) FROM numbers(5000)"); status == http.StatusOK || !strings.Contains(body, "Code: 395") {
		t.Errorf("%d: %.100s", status, body)
	}
	for _, outside := range []string{"SELECT 1 INTO OUTFILE '/tmp/x'", "SELECT 1 INTO OUTFILE '/tmp/x' FORMAT Parquet"} {
		if status, body := ask("Parquet", outside); status != http.StatusForbidden {
			t.Errorf("%s: %d %.100s", outside, status, body)
		}
	}
}

// TestOldAnswersGo: what a killed engine left of an answer is gone after its next start.
func TestOldAnswersGo(t *testing.T) {
	t.Parallel()
	s := clickhousetest.Start(t)
	s.Kill()
	old := filepath.Join(s.Config().DataDir, "answers", "answer1")
	if err := os.MkdirAll(old, 0o700); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("it is there: %v", err)
	}
}
