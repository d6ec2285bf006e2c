package archtest

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Package is one package as `go list -json` prints it, product or not.
type Package struct {
	ImportPath   string
	Name         string
	Dir          string
	Standard     bool
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
	GoFiles      []string
}

// relative returns the path inside the module, and whether it is inside.
func relative(path string) (string, bool) {
	if path == Module {
		return ".", true
	}
	return strings.CutPrefix(path, Module+"/")
}

// within says whether path is part or below it.
func within(path, part string) bool {
	return path == part || strings.HasPrefix(path, part+"/")
}

func withinAny(path string, parts []string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return within(path, part) })
}

// fixture says whether a package exists for tests only: by convention its name
// ends in "test" (kafkatest, clickhousetest), after its parent.
func fixture(rel string) bool {
	return strings.HasSuffix(rel, "test") && strings.Contains(rel, "/")
}

// CheckImports returns the breaches of the table among the packages.
func CheckImports(table Table, packages []Package) []string {
	var out []string
	seen := map[string]Package{}
	for _, p := range packages {
		rel, inside := relative(p.ImportPath)
		if !inside {
			continue
		}
		seen[rel] = p
		out = append(out, checkPackage(table, rel, p)...)
	}
	out = append(out, checkLinks(table, seen)...)
	out = append(out, checkNamed(table, seen)...)
	sort.Strings(out)
	return slices.Compact(out)
}

func checkPackage(table Table, rel string, p Package) []string {
	var out []string
	rule, ok := ruleOf(table, rel)
	if !ok {
		out = append(out, fmt.Sprintf("%s: no rule covers this package: add it to the table", rel))
	}
	for _, imp := range p.Imports {
		target, inside := relative(imp)
		switch {
		case inside && fixture(target) && !fixture(rel):
			out = append(out, fmt.Sprintf("%s imports %s: a fixture is for tests", rel, target))
		case inside && ok && !allowed(rule, rel, target):
			out = append(out, fmt.Sprintf("%s imports %s: %s", rel, target, rule.Why))
		}
		out = append(out, checkDriver(table, rel, imp, false)...)
	}
	for _, imp := range slices.Concat(p.TestImports, p.XTestImports) {
		target, inside := relative(imp)
		// Tests may start embedded engines and read their tables; a stage still
		// does not test itself through another stage.
		if inside && ok && !allowed(rule, rel, target) && !within(target, "pkg/embedded") && !within(target, "schemas") {
			out = append(out, fmt.Sprintf("tests of %s import %s: %s", rel, target, rule.Why))
		}
		out = append(out, checkDriver(table, rel, imp, true)...)
	}
	return out
}

func ruleOf(table Table, rel string) (Rule, bool) {
	var best Rule
	found := false
	for _, r := range table.Rules {
		if within(rel, r.Part) && (!found || len(r.Part) > len(best.Part)) {
			best, found = r, true
		}
	}
	return best, found
}

func allowed(rule Rule, rel, target string) bool {
	if within(target, rule.Part) && rule.Part != "pkg" {
		return true // a part may import itself
	}
	if rule.Part == "pkg" && sameTop(rel, target) {
		return true
	}
	return withinAny(target, rule.Allow) && !withinAny(target, rule.Deny)
}

// sameTop says whether two packages are below the same pkg/x.
func sameTop(a, b string) bool {
	top := func(s string) string {
		parts := strings.SplitN(s, "/", 3)
		return strings.Join(parts[:min(2, len(parts))], "/")
	}
	return top(a) == top(b)
}

func checkDriver(table Table, rel, imp string, test bool) []string {
	var best Driver
	for _, d := range table.Drivers {
		if within(imp, d.Path) && len(d.Path) > len(best.Path) {
			best = d
		}
	}
	if best.Path == "" || withinAny(rel, best.Only) || (test && withinAny(rel, best.InTest)) {
		return nil
	}
	return []string{fmt.Sprintf("%s imports %s, which only %s may: %s", rel, imp, strings.Join(best.Only, ", "), best.Why)}
}

func checkLinks(table Table, seen map[string]Package) []string {
	var out []string
	for _, l := range table.Links {
		p, ok := seen[l.Binary]
		if !ok {
			continue // checkNamed says so
		}
		for _, dep := range p.Deps {
			for _, never := range l.Never {
				if within(dep, never) {
					out = append(out, fmt.Sprintf("%s links %s: %s", l.Binary, dep, l.Why))
				}
			}
		}
	}
	return out
}

// checkNamed fails for a part that is in the table and not in the tree: a rule
// about nothing would pass for ever.
func checkNamed(table Table, seen map[string]Package) []string {
	var named []string
	for _, r := range table.Rules {
		named = append(named, r.Part)
		named = append(named, r.Allow...)
		named = append(named, r.Deny...)
	}
	for _, d := range table.Drivers {
		named = append(named, d.Only...)
		named = append(named, d.InTest...)
	}
	for _, l := range table.Links {
		named = append(named, l.Binary)
	}
	named = append(named, table.Programs...)
	var out []string
	for _, part := range named {
		exists := false
		for rel := range seen {
			exists = exists || within(rel, part)
		}
		if !exists {
			out = append(out, part+": named in the table, but there is no such package")
		}
	}
	for _, d := range table.Drivers {
		used := false
		for _, p := range seen {
			all := slices.Concat(p.Imports, p.TestImports, p.XTestImports)
			used = used || slices.ContainsFunc(all, func(imp string) bool { return within(imp, d.Path) })
		}
		if !used {
			out = append(out, d.Path+": named in the table, but nothing imports it")
		}
	}
	return out
}
