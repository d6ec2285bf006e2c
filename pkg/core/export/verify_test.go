package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/metiva-io/metiva/pkg/core/analytics"
)

func exported(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	from := fake{func(string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("{\"a\":1}\n{\"a\":2}\n")), nil
	}}
	if _, err := write(t.Context(), from, Facts{}, claim(t), config(dir, analytics.ExportNDJSON)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestVerifyFindsEveryChange of a directory that was whole.
func TestVerifyFindsEveryChange(t *testing.T) {
	t.Parallel()
	manifest := func(change func(m *Manifest)) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			raw, err := os.ReadFile(filepath.Join(dir, ManifestName))
			if err != nil {
				t.Fatal(err)
			}
			var m Manifest
			if err := json.Unmarshal(raw, &m); err != nil {
				t.Fatal(err)
			}
			change(&m)
			if raw, err = json.Marshal(m); err != nil {
				t.Fatal(err)
			}
			overwrite(t, filepath.Join(dir, ManifestName), raw)
		}
	}
	for name, try := range map[string]struct {
		change func(t *testing.T, dir string)
		want   string
	}{
		"a byte": {func(t *testing.T, dir string) {
			overwrite(t, filepath.Join(dir, "two.ndjson"), []byte("{\"a\":1}\n{\"a\":3}\n"))
		}, "SHA-256"},
		"its end":      {func(t *testing.T, dir string) { overwrite(t, filepath.Join(dir, "two.ndjson"), []byte("{\"a\":1}\n")) }, "bytes instead of"},
		"a file":       {func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "one.ndjson")) }, "missing"},
		"the facts":    {func(t *testing.T, dir string) { overwrite(t, filepath.Join(dir, RegistryName), []byte("{}")) }, RegistryName},
		"another file": {func(t *testing.T, dir string) { overwrite(t, filepath.Join(dir, "three.ndjson"), nil) }, "three.ndjson"},
		"a pipe for the manifest": {func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, ManifestName))
			if err := syscall.Mkfifo(filepath.Join(dir, ManifestName), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "no plain file"},
		"what was partial": {func(t *testing.T, dir string) { overwrite(t, filepath.Join(dir, "one.ndjson.partial"), nil) }, "partial"},
		"no manifest":      {func(t *testing.T, dir string) { remove(t, filepath.Join(dir, ManifestName)) }, ErrNotWhole.Error()},
		"half a manifest":  {func(t *testing.T, dir string) { overwrite(t, filepath.Join(dir, ManifestName), []byte("{")) }, "reading the manifest"},
		"a link": {func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, "one.ndjson"))
			if err := os.Symlink("two.ndjson", filepath.Join(dir, "one.ndjson")); err != nil {
				t.Fatal(err)
			}
		}, "plain file"},
		"rows":             {manifest(func(m *Manifest) { m.Files[0].Rows = 3 }), "rows instead of"},
		"another version":  {manifest(func(m *Manifest) { m.FormatVersion = 2 }), "version"},
		"another format":   {manifest(func(m *Manifest) { m.Format = "xml" }), "format"},
		"a path":           {manifest(func(m *Manifest) { m.Files[0].Name = "../x" }), "none of an export"},
		"a name of it all": {manifest(func(m *Manifest) { m.Files[0].Name = ".." }), "none of an export"},
		"twice":            {manifest(func(m *Manifest) { m.Files[1].Name = m.Files[0].Name }), "twice"},
	} {
		dir := exported(t)
		if _, err := Verify(dir); err != nil {
			t.Fatal(err)
		}
		try.change(t, dir)
		if _, err := Verify(dir); err == nil || !strings.Contains(err.Error(), try.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Verify(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no directory is an export")
	}
}

func overwrite(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// TestRowsOfAFormat: what a row is, and what is cut.
func TestRowsOfAFormat(t *testing.T) {
	t.Parallel()
	for _, try := range []struct {
		format  analytics.ExportFormat
		content string
		rows    int64
		cut     bool
	}{
		{analytics.ExportNDJSON, "", 0, false},
		{analytics.ExportNDJSON, "{}\n{}\n", 2, false},
		{analytics.ExportNDJSON, "{}\n{", 0, true},
		{analytics.ExportCSV, "a,b\r\n", 0, false},
		{analytics.ExportCSV, "a,b\r\n1,\"x\r\ny \"\"z\"\"\"\r\n2,3\r\n", 2, false},
		{analytics.ExportCSV, "a,b\r\n1,\"x\r\n", 0, true},
		{analytics.ExportCSV, "a,b\r\n1", 0, true},
		{analytics.ExportCSV, "", 0, true},
		{analytics.ExportParquet, "", 0, true},
		{analytics.ExportParquet, "PAR1PAR1PAR1", 0, true},
	} {
		c := newCounter(try.format)
		for _, b := range []byte(try.content) { // in pieces
			if _, err := c.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		rows, err := c.rows(strings.NewReader(try.content), int64(len(try.content)))
		if rows != try.rows || try.cut != errors.Is(err, ErrCut) || !try.cut && err != nil {
			t.Errorf("%s %q: %d, %v", try.format, try.content, rows, err)
		}
	}
}

// FuzzParquetRows: whatever a file holds, it is a number of rows or no document, within
// bounded work.
func FuzzParquetRows(f *testing.F) {
	f.Add([]byte("PAR1\x15\x02\x19\x1c\x48\x01a\x15\x00\x00\x16\x0e\x00\x0e\x00\x00\x00PAR1"))
	f.Add([]byte("PAR1\x15\x02\x16\x0e\x04\x00\x00\x00PAR1"))
	f.Add([]byte("PAR1\xff\xff\xff\xffPAR1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, err := parquetRows(bytes.NewReader(b), int64(len(b)))
		if err == nil && rows < 0 {
			t.Errorf("%d rows", rows)
		}
	})
}

// FuzzManifest: a manifest that is taken names plain files only.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"format_version":1,"format":"csv","files":[{"name":"a.csv"}]}`))
	f.Add([]byte(`{"format_version":1,"format":"csv","files":[{"name":"../a"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := parseManifest(raw)
		if err != nil {
			return
		}
		for _, file := range m.Files {
			if filepath.Base(file.Name) != file.Name || file.Name == ".." || file.Name == "." || file.Name == ManifestName {
				t.Errorf("%q is taken", file.Name)
			}
		}
	})
}
