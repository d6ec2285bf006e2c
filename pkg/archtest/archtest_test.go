package archtest_test

import (
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/pkg/archtest"
)

var update = flag.Bool("update", false, "rewrite the import table in docs/ARCHITECTURE.md")

const root = "../.."

func TestImports(t *testing.T) {
	t.Parallel()
	for _, breach := range archtest.CheckImports(archtest.Rules(), listPackages(t)) {
		t.Error(breach)
	}
}

func TestForm(t *testing.T) {
	t.Parallel()
	for _, breach := range archtest.CheckForm(archtest.Rules(), readFiles(t)) {
		t.Error(breach)
	}
}

func TestDocumentShowsTheTable(t *testing.T) {
	t.Parallel()
	name := filepath.Join(root, "docs", "ARCHITECTURE.md")
	document, err := os.ReadFile(name)
	if *update && errors.Is(err, fs.ErrNotExist) {
		document, err = []byte(archtest.Begin+"\n"+archtest.End+"\n"), nil
	}
	if err != nil {
		t.Fatal(err)
	}
	want, ok := archtest.Replace(string(document), archtest.Render(archtest.Rules()))
	if !ok {
		t.Fatalf("%s lacks the markers %s and %s", name, archtest.Begin, archtest.End)
	}
	if want == string(document) {
		return
	}
	if !*update {
		t.Fatalf("%s does not show the table: run go test ./pkg/archtest -update", name)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestPlantedBreaches shows that each rule can fail.
func TestPlantedBreaches(t *testing.T) {
	t.Parallel()
	const m = archtest.Module + "/"
	clean := listPackages(t)
	for name, c := range map[string]struct {
		rel    string // package that gets the import
		imp    string
		inTest bool
		want   string
	}{
		"stage imports stage":              {"collector", m + "enrich", false, "collector imports enrich:"},
		"stage imports part of stage":      {"sink", m + "enrich/geo", false, "sink imports enrich/geo:"},
		"stage tests through a stage":      {"enrich", m + "collector", true, "tests of enrich import collector:"},
		"stage imports core":               {"enrich", m + "pkg/core/registry", false, "enrich imports pkg/core/registry:"},
		"core imports stage":               {"pkg/core/registry", m + "sink", false, "pkg/core/registry imports sink:"},
		"library imports stage":            {"pkg/kafka", m + "collector", false, "pkg/kafka imports collector:"},
		"library imports core":             {"pkg/tenant", m + "pkg/core/registry", false, "pkg/tenant imports pkg/core/registry:"},
		"schemas imports library":          {"schemas", m + "pkg/secret", false, "schemas imports pkg/secret:"},
		"consent imports library":          {"consent", m + "pkg/kafka", false, "consent imports pkg/kafka:"},
		"leaf imports library":             {"pkg/secret", m + "pkg/obs", false, "pkg/secret imports pkg/obs:"},
		"somebody imports cmd":             {"pkg/obs", m + "cmd/internal/config", false, "pkg/obs imports cmd/internal/config:"},
		"product code imports fixture":     {"pkg/kafka", m + "pkg/embedded/kafka/kafkatest", false, "a fixture is for tests"},
		"production imports an engine":     {"sink", m + "pkg/embedded/clickhouse", false, "sink imports pkg/embedded/clickhouse:"},
		"second importer of kafka-go":      {"sink", "github.com/segmentio/kafka-go", false, "which only pkg/kafka may"},
		"part of a driver":                 {"enrich", "github.com/segmentio/kafka-go/protocol/produce", false, "which only pkg/kafka may"},
		"driver in a test":                 {"collector", "github.com/jackc/pgx/v5", true, "which only pkg/postgres"},
		"driver in the stage that uses it": {"sink/clickhouse", "github.com/ClickHouse/clickhouse-go/v2", false, "which only pkg/clickhouse may"},
		"real client of kfake":             {"pkg/kafka", "github.com/twmb/franz-go/pkg/kgo", false, "which only pkg/embedded/kafka may"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			packages := slices.Clone(clean)
			i := slices.IndexFunc(packages, func(p archtest.Package) bool { return p.ImportPath == m+c.rel })
			if i < 0 {
				t.Fatalf("no package %s to plant in", c.rel)
			}
			if c.inTest {
				packages[i].XTestImports = append(slices.Clone(packages[i].XTestImports), c.imp)
			} else {
				packages[i].Imports = append(slices.Clone(packages[i].Imports), c.imp)
			}
			found(t, archtest.CheckImports(archtest.Rules(), packages), c.want)
		})
	}
	t.Run("linked driver", func(t *testing.T) {
		t.Parallel()
		packages := slices.Clone(clean)
		i := slices.IndexFunc(packages, func(p archtest.Package) bool { return p.ImportPath == m+"cmd/collector" })
		packages[i].Deps = append(slices.Clone(packages[i].Deps), "github.com/jackc/pgx/v5/pgconn")
		found(t, archtest.CheckImports(archtest.Rules(), packages), "cmd/collector links github.com/jackc/pgx/v5/pgconn:")
	})
	t.Run("package gone", func(t *testing.T) {
		t.Parallel()
		packages := slices.DeleteFunc(slices.Clone(clean), func(p archtest.Package) bool { return strings.HasPrefix(p.ImportPath, m+"enrich/geo") })
		found(t, archtest.CheckImports(archtest.Rules(), packages), "enrich/geo: named in the table")
	})
	t.Run("package without a rule", func(t *testing.T) {
		t.Parallel()
		packages := append(slices.Clone(clean), archtest.Package{ImportPath: m + "internal/x"})
		found(t, archtest.CheckImports(archtest.Rules(), packages), "internal/x: no rule covers this package")
	})
}

func TestPlantedForms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ path, source, want string }{
		"init":            {"pkg/x/x.go", "package x\nfunc init() {}", "no init functions"},
		"getenv":          {"pkg/x/x.go", "package x\nimport \"os\"\nvar _ = os.Getenv(\"A\")", "os.Getenv: only under cmd"},
		"renamed import":  {"pkg/x/x.go", "package x\nimport sys \"os\"\nfunc f() { sys.Exit(1) }", "sys.Exit: only under cmd"},
		"log.Fatal":       {"sink/x.go", "package sink\nimport \"log\"\nfunc f() { log.Fatal(1) }", "log.Fatal: only under cmd"},
		"no doc":          {"pkg/x/x.go", "package x", "pkg/x: no doc.go"},
		"empty doc":       {"pkg/x/doc.go", "package x", "no package comment"},
		"name of folder":  {"pkg/util/doc.go", "// Package x does.\npackage x", "the name says nothing"},
		"name of package": {"pkg/x/doc.go", "// Package common does.\npackage common", "package common: the name says nothing"},
		"too long":        {"pkg/x/x.go", "package x\n" + strings.Repeat("//\n", archtest.FileLinesMax), "501 lines"},
		"long test":       {"pkg/x/x_test.go", "package x\n" + strings.Repeat("//\n", archtest.TestFileLinesMax), "701 lines"},
		"not Go":          {"pkg/x/x.go", "pakkage x", "expected 'package'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found(t, archtest.CheckForm(archtest.Rules(), []archtest.File{{Path: c.path, Source: []byte(c.source)}}), c.want)
		})
	}
	fine := []archtest.File{
		{Path: "pkg/x/doc.go", Source: []byte("// Package x does.\npackage x")},
		{Path: "pkg/x/x_test.go", Source: []byte("package x\nimport \"os\"\nvar _ = os.Getenv(\"A\")")},
		{Path: "cmd/x/main.go", Source: []byte("// Command x does.\npackage main\nimport \"os\"\nfunc main() { os.Exit(0) }")},
		{Path: "pkg/x/x.pb.go", Source: []byte("// Code generated by x. DO NOT EDIT.\npackage x\nfunc init() {}")},
	}
	for _, breach := range archtest.CheckForm(archtest.Rules(), fine) {
		t.Errorf("nothing is wrong here: %s", breach)
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	got, ok := archtest.Replace("a\n"+archtest.Begin+"\nold\n"+archtest.End+"\nb", "new\n")
	if want := "a\n" + archtest.Begin + "\nnew\n" + archtest.End + "\nb"; !ok || got != want {
		t.Errorf("got %q", got)
	}
	if _, ok := archtest.Replace("no markers", "new"); ok {
		t.Error("a document without markers passes")
	}
}

func found(t *testing.T, breaches []string, want string) {
	t.Helper()
	if !slices.ContainsFunc(breaches, func(b string) bool { return strings.Contains(b, want) }) {
		t.Errorf("not found: %q in %q", want, breaches)
	}
}

func listPackages(t *testing.T) []archtest.Package {
	t.Helper()
	// With a profile the packages of that command would be listed under other names.
	cmd := exec.CommandContext(t.Context(), "go", "list", "-pgo=off", "-deps", "-json=ImportPath,Name,Dir,Standard,Imports,TestImports,XTestImports,Deps,GoFiles", "./...")
	cmd.Dir = root
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing packages: %v\n%s", err, stderr.String())
	}
	var packages []archtest.Package
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p archtest.Package
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func readFiles(t *testing.T) []archtest.File {
	t.Helper()
	var files []archtest.File
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			// What go list leaves out as well: other modules, test data, and what a
			// run leaves behind.
			if name != root && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || slices.Contains([]string{"testdata", "node_modules", "var", "bin"}, base)) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") {
			return nil
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		files = append(files, archtest.File{Path: filepath.ToSlash(rel), Source: source})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("only %d files found: this test looks in the wrong place", len(files))
	}
	return files
}
