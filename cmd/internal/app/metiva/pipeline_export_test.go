package metiva

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
)

// testExport hands one of the demo's tenants its data, as an operator does: whole, in
// each format, and of that tenant alone.
func (h *harness) testExport(t *testing.T) {
	h.t = t
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := Run(t.Context(), app.System{Args: args, Stdout: &out, Stderr: &out})
		return out.String(), err
	}
	own := h.demo.Sites[0].CompanyID
	for _, format := range []string{"ndjson", "csv", "parquet"} {
		dir := filepath.Join(t.TempDir(), format)
		out, err := run("export", "tenant", "--data", h.stack.DataDir(), "--tenant", own, "--out", dir, "--format", format)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, file := range []string{"events", "visits", "accounts_daily", "ledger_edge"} {
			if !strings.Contains(out, file+"."+format) {
				t.Errorf("%s is not in the export: %s", file, out)
			}
		}
		sum := out[strings.Index(out, "manifest.json"):]
		sum = strings.Fields(sum)[1]
		if out, err := run("audit", "--data", h.stack.DataDir(), "--tenant", own); err != nil || !strings.Contains(out, `"manifest_sha256":"`+sum) || strings.Contains(out, dir) {
			t.Errorf("the audit has not that export: %v\n%s", err, out)
		}
		if out, err := run("audit", "--data", h.stack.DataDir(), "--tenant", own, "--unfinished"); err != nil || strings.TrimSpace(out) != "" {
			t.Errorf("an export that is done is unfinished: %v\n%s", err, out)
		}
		if out, err := run("export", "verify", dir, "--sha256", sum); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		if _, err := run("export", "verify", dir, "--sha256", strings.Repeat("0", 64)); err == nil {
			t.Error("another manifest is taken")
		}
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			assertNoVisitor(t, filepath.Base(path), content)
			if strings.HasPrefix(filepath.Base(path), "events.") && len(content) < 1000 {
				t.Errorf("%s has %d bytes", path, len(content))
			}
			for _, site := range h.demo.Sites {
				if site.CompanyID != own && bytes.Contains(content, []byte(site.CompanyID)) {
					t.Errorf("%s holds rows of another tenant", filepath.Base(path))
				}
			}
		}
	}
	if out, err := run("export", "tenant", "--data", h.stack.DataDir(), "--tenant", own, "--out", t.TempDir(), "--since", "2026-11-22", "--until", "2026-11-21"); err == nil {
		t.Errorf("a period that ends before it begins: %s", out)
	}
}

// testRetention makes a site's retention shorter, as an operator does. The ledger's rows
// are stamped for longer than any site keeps them, so there is always something to
// bring nearer; a second time there is nothing. Nothing that is young goes.
func (h *harness) testRetention(t *testing.T) {
	h.t = t
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := Run(t.Context(), app.System{Args: append(args, "--data", h.stack.DataDir()), Stdout: &out, Stderr: &out})
		return out.String(), err
	}
	site := h.demo.Sites[0]
	before, err := h.stored(t.Context(), "events")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := run("site", "set", "--company", site.CompanyID, "--site", site.SiteID, "--retention-days", "30"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := run("retention", "check", "--tenant", site.CompanyID); !errors.Is(err, errBeyond) || !strings.Contains(out, "visits") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := run("retention", "apply", "--tenant", site.CompanyID); err != nil || !strings.Contains(out, "visits") {
		t.Errorf("%v\n%s", err, out)
	}
	// Visits of before may still bring a version with the longer retention.
	h.within(30*time.Second, "every row to be within its site's retention", func() (bool, error) {
		if out, err := run("retention", "apply"); err != nil {
			return false, fmt.Errorf("%w: %s", err, out)
		}
		out, err := run("retention", "check")
		return err == nil && strings.Contains(out, "every row is within"), err
	})
	if after, err := h.stored(t.Context(), "events"); err != nil || len(after) != len(before) {
		t.Errorf("%d events are left of %d, %v", len(after), len(before), err)
	}
}
