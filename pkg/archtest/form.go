package archtest

import (
	"bufio"
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"
)

// File is one Go source file of the module.
type File struct {
	Path   string // relative to the module, with forward slashes
	Source []byte
}

// forbiddenOutsideCmd are the doors between a process and its surroundings.
var forbiddenOutsideCmd = map[string][]string{
	"os":  {"Getenv", "LookupEnv", "Environ", "Exit", "Args", "Setenv", "Unsetenv", "ExpandEnv"},
	"log": {"Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln"},
}

// CheckForm returns the breaches of form among the files.
func CheckForm(table Table, files []File) []string {
	var out []string
	documented := map[string]bool{}
	dirs := map[string]bool{}
	for _, f := range files {
		dir, base := path.Split(f.Path)
		dir = path.Clean(dir)
		// A package of generated code alone is documented by its source.
		if !strings.HasSuffix(base, "_test.go") && !generated(f) {
			dirs[dir] = true
		}
		documented[dir] = documented[dir] || base == "doc.go"
		out = append(out, checkFile(table, f)...)
	}
	for dir := range dirs {
		// The main of a binary of cmd is documented in main.go itself.
		if !documented[dir] && !oneFileMain(dir, files) {
			out = append(out, dir+": no doc.go")
		}
		if slices.Contains(badNames, path.Base(dir)) {
			out = append(out, dir+": the name says nothing about what it does")
		}
	}
	slices.Sort(out)
	return out
}

func generated(f File) bool {
	file, err := parser.ParseFile(token.NewFileSet(), f.Path, f.Source, parser.PackageClauseOnly|parser.ParseComments)
	return err == nil && ast.IsGenerated(file)
}

func checkFile(table Table, f File) []string {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, f.Path, f.Source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", f.Path, err)}
	}
	var out []string
	test := strings.HasSuffix(f.Path, "_test.go")
	if slices.Contains(badNames, file.Name.Name) {
		out = append(out, fmt.Sprintf("%s: package %s: the name says nothing about what it does", f.Path, file.Name.Name))
	}
	if ast.IsGenerated(file) {
		return out
	}
	linesMax := FileLinesMax
	if test {
		linesMax = TestFileLinesMax
	}
	if n := lines(f.Source); n > linesMax {
		out = append(out, fmt.Sprintf("%s: %d lines, at most %d", f.Path, n, linesMax))
	}
	if path.Base(f.Path) == "doc.go" && file.Doc.Text() == "" {
		out = append(out, f.Path+": no package comment")
	}
	for _, d := range file.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			out = append(out, at(fset, fn.Pos())+": no init functions: say it in a constructor")
		}
	}
	dir := path.Dir(f.Path)
	if !test && !fixture(dir) && !within(dir, "cmd") && !withinAny(dir, table.Programs) {
		out = append(out, doors(fset, file)...)
	}
	return out
}

// doors finds uses of forbiddenOutsideCmd, under whatever name the package was
// imported.
func doors(fset *token.FileSet, file *ast.File) []string {
	names := map[string][]string{}
	for _, imp := range file.Imports {
		pkg := strings.Trim(imp.Path.Value, `"`)
		forbidden, ok := forbiddenOutsideCmd[pkg]
		if !ok {
			continue
		}
		local := pkg
		if imp.Name != nil {
			local = imp.Name.Name
		}
		names[local] = forbidden
	}
	var out []string
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(names[x.Name], sel.Sel.Name) {
			out = append(out, fmt.Sprintf("%s: %s.%s: only under cmd", at(fset, sel.Pos()), x.Name, sel.Sel.Name))
		}
		return true
	})
	return out
}

func at(fset *token.FileSet, pos token.Pos) string {
	p := fset.Position(pos)
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

func lines(src []byte) int {
	n := 0
	for s := bufio.NewScanner(bytes.NewReader(src)); s.Scan(); {
		n++
	}
	return n
}

// oneFileMain says whether dir is a binary of cmd whose only file is main.go
// with a package comment.
func oneFileMain(dir string, files []File) bool {
	if !within(dir, "cmd") {
		return false
	}
	documented := false
	for _, f := range files {
		if path.Dir(f.Path) != dir || strings.HasSuffix(f.Path, "_test.go") {
			continue
		}
		if path.Base(f.Path) != "main.go" {
			return false
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Path, f.Source, parser.PackageClauseOnly|parser.ParseComments)
		documented = err == nil && file.Doc.Text() != ""
	}
	return documented
}
