package export

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/pkg/core/audit"
	"github.com/metiva-io/metiva/pkg/tenant"
)

// TestExportsAreRecorded: before the first row and after the last; an export that cannot
// be recorded is none.
func TestExportsAreRecorded(t *testing.T) {
	t.Parallel()
	away := errors.New("the audit is away")
	whole := func(cfg Config) (Manifest, error) {
		m := Manifest{Files: []File{{Table: "events", Rows: 3}, {Name: RegistryName}}}
		return m, cfg.finished(t.Context(), m, "abc")
	}
	for name, c := range map[string]struct {
		write  func(Config) (Manifest, error)
		failAt audit.Outcome
		want   []audit.Outcome
		err    error
	}{
		"whole":            {whole, "", []audit.Outcome{audit.Begun, audit.Done}, nil},
		"failed":           {func(Config) (Manifest, error) { return Manifest{}, ErrCut }, "", []audit.Outcome{audit.Begun, audit.Failed}, ErrCut},
		"of an erased one": {func(Config) (Manifest, error) { return Manifest{}, ErrErased }, "", []audit.Outcome{audit.Begun, audit.Denied}, ErrErased},
		"not begun":        {func(Config) (Manifest, error) { t.Error("exported without a record"); return Manifest{}, nil }, audit.Begun, []audit.Outcome{audit.Begun}, away},
		"end not recorded": {whole, audit.Done, []audit.Outcome{audit.Begun, audit.Done, audit.Failed}, away},
	} {
		var got []audit.Outcome
		var last string
		runs := make(map[string]bool)
		cfg := config(t.TempDir(), analytics.ExportCSV)
		cfg.Audit = func(_ context.Context, _ tenant.Claim, e audit.Entry) error {
			got = append(got, e.Outcome)
			raw, err := json.Marshal(e.Details)
			run := e.Details.(auditDetails).ID
			runs[run] = true
			if last = strings.Replace(string(raw), run, "x", 1); e.Outcome == c.failAt {
				err = away
			}
			return err
		}
		_, err := recorded(t.Context(), claim(t), cfg, c.write)
		if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) || !slices.Equal(got, c.want) {
			t.Errorf("%s: recorded %v, %v", name, got, err)
		}
		if len(runs) != 1 || runs[""] {
			t.Errorf("%s: its records are of the runs %v", name, runs)
		}
		if want := `{"run":"x","format":"csv","rows":{"events":3},"manifest_sha256":"abc"}`; name == "whole" && last != want {
			t.Errorf("the record says %s, want %s", last, want)
		}
	}
	// What cannot be recorded is not left behind.
	dir := filepath.Join(t.TempDir(), "out")
	cfg := config(dir, analytics.ExportNDJSON)
	cfg.finished = func(context.Context, Manifest, string) error { return away }
	if _, err := write(t.Context(), fake{empty}, Facts{}, claim(t), cfg); !errors.Is(err, away) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the export is there: %v", err)
	}
}

func empty(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("")), nil }
