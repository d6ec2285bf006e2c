package metiva

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
)

// databasesIn puts a small database into a directory of its own.
func databasesIn(t *testing.T, rows ...string) string {
	t.Helper()
	return filepath.Dir(geotest.Small(t, "1.0.2026010100", rows...)[0])
}

func TestGeoLookup(t *testing.T) {
	t.Parallel()
	dir := databasesIn(t, "20.0.0.0,20.0.0.255,15625,ING Bank N.V.", "20.0.1.0,20.0.1.15,15625,ING Bank N.V.")
	suppressed := filepath.Join(dir, "list.txt")
	if err := os.WriteFile(suppressed, []byte("20.0.2.0/24 opt_out\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	command := geoLookup{Geo: dir, lists: lists{Suppressions: suppressed}, Addresses: []string{"20.0.0.7", "20.0.9.9:443", "20.0.1.7", "20.0.2.7"}}
	if err := command.Run(t.Context(), terminal{&out, &errs}); !errors.Is(err, errAddresses) || !strings.Contains(errs.String(), "address 2 ") || strings.Contains(errs.String(), "20.0.9.9") {
		t.Errorf("%v, %q", err, errs.String())
	}
	var got []lookupLine
	for line := range strings.Lines(out.String()) {
		var l lookupLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		got = append(got, l)
	}
	if len(got) != 3 {
		t.Fatalf("%d lines: %s", len(got), out.String())
	}
	if l := got[0]; l.Address != "20.0.0.7" || l.Verdict != "company" || l.Name != "ING" || l.Reason != "as_type" || l.Prefix != "20.0.0.0/24" || l.Confidence != 0.75 || l.Full.Name != "ING" {
		t.Errorf("%+v", l)
	}
	if l := got[1]; l.Verdict != "ambiguous_truncation" || l.Name != "" || l.Full.Verdict != "company" || l.Full.Prefix != "20.0.1.0/28" {
		t.Errorf("%+v", l)
	}
	if l := got[2]; l.Verdict != "suppressed" || l.Reason != "suppression_opt_out" {
		t.Errorf("%+v", l)
	}
}

func TestGeoCheckAndDiff(t *testing.T) {
	t.Parallel()
	before := databasesIn(t, "20.0.0.0,20.0.1.255,15625,ING Bank N.V.", "20.0.2.0,20.0.2.255,1136,Another Holder B.V.")
	after := databasesIn(t, "20.0.0.0,20.0.0.255,15625,ING Bank N.V.")
	var out, errs bytes.Buffer
	if err := (&geoCheck{Geo: before}).Run(t.Context(), terminal{&out, &errs}); err != nil {
		t.Fatal(err)
	}
	var check checkReport
	if err := json.Unmarshal(out.Bytes(), &check); err != nil {
		t.Fatal(err)
	}
	if len(check.Databases) != 1 || check.Databases[0].Type != geo.DatabaseTypeASN || check.Score.False != 0 {
		t.Errorf("%+v", check.Databases)
	}
	found := false
	for _, c := range check.Changed {
		found = found || c.ASN == 1136 && len(c.Databases) == 1 && c.Databases[0] == "Another Holder B.V."
	}
	if !found {
		t.Error("a number that changed hands was not noticed")
	}
	out.Reset()
	if err := (&geoDiff{Before: before, After: after, Limit: 1}).Run(t.Context(), terminal{&out, &errs}); err != nil {
		t.Fatal(err)
	}
	var diff diffReport
	if err := json.Unmarshal(out.Bytes(), &diff); err != nil {
		t.Fatal(err)
	}
	if diff.MovedCount != 1 || diff.Moved[0].Account != "ing.nl" || diff.Moved[0].AfterIPv4 != 1 || len(diff.Turns) != 2 {
		t.Errorf("%s", out.String())
	}
	damaged := databasesIn(t, "20.0.0.0,20.0.0.255,15625,ING Bank N.V.")
	file := filepath.Join(damaged, geo.FileASN)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// The separator between tree and data: readable, and not in order.
	at := bytes.Index(content, make([]byte, 16))
	if at < 0 {
		t.Fatal("no separator")
	}
	content[at+8] = 1
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := (&geoCheck{Geo: damaged}).Run(t.Context(), terminal{&out, &errs}); !errors.Is(err, errCheck) || !strings.Contains(out.String(), `"fault"`) {
		t.Errorf("%v, %s", err, out.String())
	}
}

func TestBenchCompanies(t *testing.T) {
	t.Parallel()
	dir := databasesIn(t, "145.221.0.0,145.221.255.255,15625,ING Bank N.V.", "77.160.0.0,77.163.255.255,8373,Deutsche Bank AG")
	var out, errs bytes.Buffer
	// KPN's addresses as a bank's: a wrong name must not pass.
	if err := (&benchCompanies{Geo: dir, Wrong: true}).Run(terminal{&out, &errs}); !errors.Is(err, errFalseCompany) {
		t.Errorf("got %v", err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var score struct {
		Rows, Shown, False int
		Precision, Recall  float64
		Coverage           []struct {
			Verdict, Reason string
			Rows            int
		}
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &score); err != nil {
		t.Fatal(err)
	}
	if score.Rows < 400 || score.False == 0 || score.Precision >= 1 || score.Recall >= 0.5 || len(score.Coverage) == 0 {
		t.Errorf("%+v", score)
	}
}
