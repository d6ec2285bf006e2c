package export

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/pkg/core/audit"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/tenant"
)

func config(dir string, format analytics.ExportFormat) Config {
	return Config{
		Dir: dir, Format: format, Now: func() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC) },
		Audit: func(context.Context, tenant.Claim, audit.Entry) error { return nil },
	}
}

// TestExportAndVerify: of two tenants one is exported in each format; the directory
// holds what its manifest says, closed to others, and nothing of the other tenant.
func TestExportAndVerify(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own := w.tenant("Ours", 3)
	w.tenant("Theirs", 2)
	for _, format := range analytics.ExportFormats() {
		dir := filepath.Join(t.TempDir(), "out")
		cfg := config(dir, format)
		cfg.Audit = audit.New(w.pool, time.Now).Append
		m, err := Write(t.Context(), w.conn, w.store, own, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if m.CompanyID != own.CompanyID() || m.CreatedBy != operator || m.FormatVersion != FormatVersion {
			t.Errorf("the manifest is %+v", m)
		}
		again, err := Verify(dir)
		if err != nil || len(again.Files) != len(m.Files) {
			t.Errorf("%s: %v", format, err)
		}
		events := m.Files[slices.IndexFunc(m.Files, func(f File) bool { return f.Table == "events" })]
		if events.Rows != 3 || events.Name != "events."+string(format) || !slices.ContainsFunc(events.Columns, func(c analytics.ExportColumn) bool { return c.Sealed }) {
			t.Errorf("events are %+v", events)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != len(m.Files)+1 {
			t.Errorf("%d files, %v", len(entries), err)
		}
		for _, entry := range entries {
			info, err := entry.Info()
			if err != nil || info.Mode() != 0o600 {
				t.Errorf("%s has mode %v, %v", entry.Name(), info.Mode(), err)
			}
			content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
			if err != nil || bytes.Contains(content, []byte("Theirs")) {
				t.Errorf("%s holds another tenant's, %v", entry.Name(), err)
			}
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the directory has mode %v, %v", info.Mode(), err)
		}
		if sum, err := Sum(dir); err != nil || len(sum) != 64 {
			t.Errorf("sum %q, %v", sum, err)
		}
	}
}

// erasedMeanwhile is a clock that has the tenant's erasure begin when the export does.
func (w *world) erasedMeanwhile(claim tenant.Claim) func() time.Time {
	begin := sync.OnceFunc(func() {
		err := tenant.Run(w.t.Context(), w.pool, claim, func(ctx context.Context, tx tenant.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO core.erasures (id, kind, subject_id, requested_by, requested_at, erased_at)
VALUES ($1, 'tenant', '', 'operator:x', now(), now())`, tenant.NewID(tenant.PrefixErasure))
			return err
		})
		if err != nil {
			w.t.Error(err)
		}
	})
	return func() time.Time { begin(); return time.Now() }
}

// TestNoExportOfTheErased: a tenant whose erasure begins while it is exported, or began
// before, has no export, and nothing is left of the attempt.
func TestNoExportOfTheErased(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim := w.tenant("Ours", 1)
	cfg := config(filepath.Join(t.TempDir(), "out"), analytics.ExportNDJSON)
	cfg.Now = w.erasedMeanwhile(claim)
	for _, when := range []string{"meanwhile", "before"} {
		if _, err := Write(t.Context(), w.conn, w.store, claim, cfg); !errors.Is(err, ErrErased) {
			t.Errorf("erased %s: %v", when, err)
		}
		if _, err := os.Stat(cfg.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("erased %s: something is left: %v", when, err)
		}
	}
}

// TestFactsHoldNoKeys: the registry's file has sites with their settings, texts and
// forms, and no key of a site.
func TestFactsHoldNoKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim := w.tenant("Ours", 0)
	facts, err := readFacts(t.Context(), w.store, claim)
	if err != nil {
		t.Fatal(err)
	}
	sites, err := w.store.ListSites(t.Context(), claim)
	if err != nil || len(sites) != 1 || len(sites[0].Keys) == 0 {
		t.Fatalf("%+v, %v", sites, err)
	}
	raw, err := json.Marshal(facts)
	if err != nil || strings.Contains(string(raw), sites[0].Keys[0].Key) || strings.Contains(string(raw), "null") {
		t.Errorf("%s, %v", raw, err)
	}
	site := facts.Sites[0]
	if facts.Name != "Ours" || len(facts.Brands) != 1 || site.Texts[0].Body != "Text of Ours" || site.Forms[0].FormID != "contact" ||
		site.RetentionDays != registry.RetentionDaysDefault || site.InterestAcceptedAt == nil || site.Mode != "company" {
		t.Errorf("%s", raw)
	}
}

// TestEveryFactIsExportedOrNamed: a new table with a tenant's rows in Postgres, and a new
// setting of a site, are exported or named as left out.
func TestEveryFactIsExportedOrNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim := w.tenant("Ours", 0)
	in := []string{"tenants", "brands", "sites", "consent_texts", "site_forms", "suppressions"}
	err := tenant.Run(t.Context(), w.pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		rows, err := tx.Query(ctx, `SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.attname = 'company_id' AND c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')`)
		if err != nil {
			return err
		}
		defer rows.Close()
		found := 0
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			found++
			if _, out := NotInFacts()[name]; out == slices.Contains(in, name) {
				t.Errorf("core.%s is neither exported nor named in NotInFacts, or both", name)
			}
		}
		if found != len(in)+len(NotInFacts()) {
			t.Errorf("%d tables with rows of tenants", found)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	// The fields of a site, and what they are called in the export.
	named := map[string]string{
		"ID": "SiteID", "Keys": "", "CompanyID": "", "Visits": "VisitIdleMinutes", // Visits are three fields
	}
	out := reflect.TypeFor[Site]()
	for field := range reflect.TypeFor[registry.Site]().Fields() {
		name, known := named[field.Name]
		if !known {
			name = field.Name
		}
		if _, has := out.FieldByName(name); name != "" && !has {
			t.Errorf("the export of a site lacks %s", field.Name)
		}
	}
	if n := reflect.TypeFor[registry.VisitRules]().NumField(); n != 3 {
		t.Errorf("visits have %d rules, and the export three", n)
	}
}

// fake gives rows, and fails as told.
type fake struct {
	rows func(table string) (io.ReadCloser, error)
}

func (fake) ExportTables(context.Context, analytics.ExportFormat) ([]analytics.ExportTable, error) {
	return []analytics.ExportTable{{Name: "one"}, {Name: "two"}}, nil
}

func (f fake) Export(_ context.Context, table analytics.ExportTable, _ analytics.ExportFormat, _ analytics.Period, _ analytics.ExportLimits) (io.ReadCloser, error) {
	return f.rows(table.Name)
}

func claim(t *testing.T) tenant.Claim {
	t.Helper()
	c, err := tenant.OperatorClaim(tenant.NewID(tenant.PrefixCompany), operator)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestHalfAnExportIsNone: whatever fails, and wherever, nothing of it is left that could
// be taken for an export; while it is written, no file has its name before it is whole.
func TestHalfAnExportIsNone(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, second := range map[string]func() (io.ReadCloser, error){
		"refused": func() (io.ReadCloser, error) { return nil, broken },
		"cut": func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("{}\n{}\n"), iotest.ErrReader(broken))), nil
		},
		"in the middle of a row": func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("{}\n{\"a\"")), nil },
		"at its close":           func() (io.ReadCloser, error) { return closeFails{strings.NewReader("{}\n"), broken}, nil },
	} {
		for _, made := range []bool{true, false} {
			dir := filepath.Join(t.TempDir(), "out")
			if !made {
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			from := fake{func(table string) (io.ReadCloser, error) {
				if table == "one" {
					return io.NopCloser(strings.NewReader("{}\n")), nil
				}
				names, err := filepath.Glob(filepath.Join(dir, "*"))
				if err != nil || len(names) != 1 || filepath.Base(names[0]) != "one.ndjson" {
					t.Errorf("%s: before the second table there are %v, %v", name, names, err)
				}
				return second()
			}}
			_, err := write(t.Context(), from, Facts{}, claim(t), config(dir, analytics.ExportNDJSON))
			if !errors.Is(err, broken) && !errors.Is(err, ErrCut) {
				t.Errorf("%s: %v", name, err)
			}
			if left, err := os.ReadDir(dir); made != errors.Is(err, os.ErrNotExist) || len(left) > 0 {
				t.Errorf("%s: %v is left, %v", name, left, err)
			}
		}
	}
}

type closeFails struct {
	io.Reader
	err error
}

func (c closeFails) Close() error { return c.err }

// TestNothingIsWrittenOver: not another export, nor anything else.
func TestNothingIsWrittenOver(t *testing.T) {
	t.Parallel()
	from := fake{func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("{}\n")), nil }}
	dir := t.TempDir()
	if _, err := write(t.Context(), from, Facts{}, claim(t), config(dir, analytics.ExportNDJSON)); err != nil {
		t.Fatal(err)
	}
	if _, err := write(t.Context(), from, Facts{}, claim(t), config(dir, analytics.ExportNDJSON)); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("%v", err)
	}
	if _, err := Verify(dir); err != nil {
		t.Errorf("the first export: %v", err)
	}
	for name, wrong := range map[string]Config{
		"no directory": config("", analytics.ExportNDJSON), "format": config(dir, "xml"), "clock": {Dir: dir, Format: analytics.ExportCSV}, "audit": {Dir: dir, Format: analytics.ExportCSV, Now: time.Now},
		"period": {Dir: dir, Format: analytics.ExportCSV, Now: time.Now, Period: analytics.Period{From: time.Unix(2, 0), To: time.Unix(1, 0)}},
	} {
		if wrong.Validate() == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestMemoryDoesNotGrowWithRows: a table a thousand times as long takes as many
// allocations. Not parallel: it counts those of the process.
func TestMemoryDoesNotGrowWithRows(t *testing.T) {
	allocations := func(format analytics.ExportFormat, rows int64) float64 {
		line := []byte("{\"a\":\"" + strings.Repeat("x", 90) + "\"}\n")
		from := fake{func(string) (io.ReadCloser, error) {
			return io.NopCloser(&endless{line: line, left: rows * int64(len(line))}), nil
		}}
		c := claim(t)
		base := t.TempDir()
		return testing.AllocsPerRun(3, func() {
			dir := filepath.Join(base, tenant.NewID(tenant.PrefixCompany))
			if _, err := write(context.Background(), from, Facts{}, c, config(dir, format)); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, format := range []analytics.ExportFormat{analytics.ExportNDJSON, analytics.ExportCSV} {
		few, many := allocations(format, 100), allocations(format, 100_000)
		if many > few+20 {
			t.Errorf("%s: %.0f allocations for 100 rows, %.0f for 100,000", format, few, many)
		}
	}
}

// endless repeats a line.
type endless struct {
	line []byte
	at   int
	left int64
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && e.left > 0 {
		m := copy(p[n:min(int64(len(p)), int64(n)+e.left)], e.line[e.at:])
		n, e.left, e.at = n+m, e.left-int64(m), (e.at+m)%len(e.line)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}
