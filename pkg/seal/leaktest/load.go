package leaktest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// Module is the path of the product.
const Module = "github.com/metiva-io/metiva"

// Package is one package with its types.
type Package struct {
	Path  string
	Files []*ast.File
	Info  *types.Info
	Types *types.Package
}

// World is a set of packages whose types know each other.
type World struct {
	Fset     *token.FileSet
	Packages []*Package

	mu       *sync.Mutex // around the importer
	root     string
	exports  map[string]string // import path -> file with the package's types
	importer types.Importer
}

// listed is what go list says of one package.
type listed struct {
	ImportPath string
	Dir        string
	Export     string
	GoFiles    []string
}

// Load lists, compiles and reads every package of the product below root.
func Load(root string) (*World, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	// With a profile the packages of that command would be listed under other names.
	cmd := exec.CommandContext(context.Background(), "go", "list", "-pgo=off", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing packages: %w: %s", err, stderr.String())
	}
	w := &World{mu: &sync.Mutex{}, Fset: token.NewFileSet(), root: root, exports: map[string]string{}}
	w.importer = importer.ForCompiler(w.Fset, "gc", w.open)
	var own []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("reading what go list says: %w", err)
		}
		w.exports[p.ImportPath] = p.Export
		if ours(p.ImportPath) {
			own = append(own, p)
		}
	}
	for _, p := range own {
		if err := w.add(p); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func ours(path string) bool { return path == Module || strings.HasPrefix(path, Module+"/") }

func (w *World) open(path string) (io.ReadCloser, error) {
	file := w.exports[path]
	if file == "" {
		return nil, fmt.Errorf("there are no types of %s", path)
	}
	return os.Open(file)
}

func (w *World) add(p listed) error {
	var files []*ast.File
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(w.Fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return fmt.Errorf("reading %s: %w", p.ImportPath, err)
		}
		files = append(files, file)
	}
	pkg, faults := w.check(p.ImportPath, files)
	if len(faults) > 0 {
		return fmt.Errorf("checking the types of %s: %w", p.ImportPath, faults[0])
	}
	w.Packages = append(w.Packages, pkg)
	return nil
}

// check gives the files types, and every fault of the compiler.
func (w *World) check(path string, files []*ast.File) (*Package, []types.Error) {
	var faults []types.Error
	config := types.Config{Importer: w.importer, Error: func(err error) {
		if fault, ok := err.(types.Error); ok { //nolint:errorlint // go/types hands it over as it is
			faults = append(faults, fault)
		}
	}}
	info := &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{},
		Selections: map[*ast.SelectorExpr]*types.Selection{}, Instances: map[*ast.Ident]types.Instance{},
	}
	pkg, _ := config.Check(path, w.Fset, files, info) // the faults are in the list
	return &Package{Path: path, Files: files, Info: info, Types: pkg}, faults
}

// Only is the world with one package to look at.
func (w *World) Only(p *Package) *World {
	other := *w
	other.Packages = []*Package{p}
	return &other
}

// Check reads one file that is no part of the product, such as test data.
func (w *World) Check(name string) (*Package, []types.Error, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	file, err := parser.ParseFile(w.Fset, name, nil, parser.SkipObjectResolution|parser.ParseComments)
	if err != nil {
		return nil, nil, err
	}
	pkg, faults := w.check(Module+"/testdata", []*ast.File{file})
	return pkg, faults, nil
}

// Breach is one place where a rule is broken.
type Breach struct {
	File string // relative to the product
	Line int
	What string
}

func (b Breach) String() string { return fmt.Sprintf("%s:%d: %s", b.File, b.Line, b.What) }

func (w *World) breach(at token.Pos, what string) Breach {
	pos := w.Fset.Position(at)
	return Breach{File: w.relative(pos.Filename), Line: pos.Line, What: what}
}

func (w *World) relative(file string) string {
	abs, err := filepath.Abs(file)
	if err != nil {
		return file
	}
	rel, err := filepath.Rel(w.root, abs)
	if err != nil {
		return file
	}
	return filepath.ToSlash(rel)
}
