package leaktest_test

import (
	"go/ast"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/metiva-io/metiva/pkg/seal/leaktest"
)

const root = "../../.."

// load reads the product once for all tests.
var load = sync.OnceValues(func() (*leaktest.World, error) { return leaktest.Load(root) })

func world(t *testing.T) *leaktest.World {
	t.Helper()
	w, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Packages) < 30 {
		t.Fatalf("only %d packages found: this test looks in the wrong place", len(w.Packages))
	}
	return w
}

func TestNoAddressBecomesAnInterfaceValue(t *testing.T) {
	t.Parallel()
	for _, b := range leaktest.CheckFlows(world(t), leaktest.Flows()) {
		t.Error(b)
	}
}

func TestUnsealedAddressesStayWhereTheyMay(t *testing.T) {
	t.Parallel()
	for _, b := range leaktest.CheckNames(world(t), leaktest.Names()) {
		t.Error(b)
	}
}

// want reads the marks of a test file: line -> what is expected there.
func want(w *leaktest.World, file *ast.File) map[int]string {
	mark := regexp.MustCompile(`^// want(?: "(.*)")?$`)
	out := map[int]string{}
	for _, group := range file.Comments {
		for _, c := range group.List {
			if m := mark.FindStringSubmatch(c.Text); m != nil {
				out[w.Fset.Position(c.Pos()).Line] = m[1]
			}
		}
	}
	return out
}

// TestAddressesDoNotCompile: what the compiler itself refuses.
func TestAddressesDoNotCompile(t *testing.T) {
	t.Parallel()
	w := world(t)
	pkg, faults, err := w.Check(filepath.Join("testdata", "compile", "addresses.go"))
	if err != nil {
		t.Fatal(err)
	}
	marks := want(w, pkg.Files[0])
	if len(marks) < 30 {
		t.Fatalf("only %d marks", len(marks))
	}
	found := map[int]bool{}
	for _, fault := range faults {
		line := w.Fset.Position(fault.Pos).Line
		text, ok := marks[line]
		switch {
		case !ok:
			t.Errorf("line %d: the example is broken: %s", line, fault.Msg)
		case strings.Contains(fault.Msg, text):
			found[line] = true
		default:
			t.Logf("line %d: %s", line, fault.Msg)
		}
	}
	for line, text := range marks {
		if !found[line] {
			t.Errorf("line %d compiles, or fails without %q", line, text)
		}
	}
}

// TestPlantedBreaches shows that each check can fail, line by line.
func TestPlantedBreaches(t *testing.T) {
	t.Parallel()
	for name, check := range map[string]func(*leaktest.World, *leaktest.Package) []leaktest.Breach{
		"flows": func(w *leaktest.World, p *leaktest.Package) []leaktest.Breach {
			return leaktest.CheckFlows(w.Only(p), leaktest.FlowRules{Visitors: []string{"testdata"}})
		},
		"persons": func(w *leaktest.World, p *leaktest.Package) []leaktest.Breach {
			return leaktest.CheckFlows(w.Only(p), leaktest.FlowRules{Persons: []string{"testdata"}})
		},
		"names": func(w *leaktest.World, p *leaktest.Package) []leaktest.Breach {
			return leaktest.CheckNames(w.Only(p), leaktest.NameRules{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := world(t)
			pkg, faults, err := w.Check(filepath.Join("testdata", name, name+".go"))
			if err != nil {
				t.Fatal(err)
			}
			for _, fault := range faults {
				t.Errorf("the example is broken: %v", fault)
			}
			marks, found := want(w, pkg.Files[0]), map[int]bool{}
			for _, b := range check(w, pkg) {
				if _, ok := marks[b.Line]; !ok {
					t.Errorf("a breach where none is: %s", b)
				}
				found[b.Line] = true
			}
			for line := range marks {
				if !found[line] {
					t.Errorf("line %d is not noticed", line)
				}
			}
		})
	}
}

// TestListsAreExact: an exception that nothing needs is a breach, and so is a
// place without its exception.
func TestListsAreExact(t *testing.T) {
	t.Parallel()
	w := world(t)
	flows, names := leaktest.Flows(), leaktest.Names()
	flows.Boxed["collector.gone"], names.Places["collector/gone.go"], names.Holders["collector.gone"] = "x", "x", "x"
	if got := text(leaktest.CheckFlows(w, flows)); got != "collector.gone:0: listed, and nothing needs it" {
		t.Errorf("flows: %s", got)
	}
	if got := text(leaktest.CheckNames(w, names)); strings.Count(got, "\n") != 1 || !strings.Contains(got, "collector/gone.go:0: listed") {
		t.Errorf("names: %s", got)
	}
	delete(flows.Boxed, "collector.work")
	if got := text(leaktest.CheckFlows(w, flows)); !strings.Contains(got, "a *collector.work becomes an interface value") {
		t.Errorf("flows without the pool: %s", got)
	}
	delete(names.Places, "collector/peer.go")
	if got := text(leaktest.CheckNames(w, names)); !strings.Contains(got, "collector/peer.go:") {
		t.Errorf("names without the peer: %s", got)
	}
}

func text(breaches []leaktest.Breach) string {
	var lines []string
	for _, b := range breaches {
		lines = append(lines, b.String())
	}
	return strings.Join(lines, "\n")
}
