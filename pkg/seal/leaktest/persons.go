package leaktest

import (
	"go/ast"
	"go/types"
	"strings"
)

// within reports whether the package is in one of the folders.
func (p *Package) within(folders []string) bool {
	for _, folder := range folders {
		if p.Path == Module+"/"+folder || strings.HasPrefix(p.Path, Module+"/"+folder+"/") {
			return true
		}
	}
	return false
}

// isTyped reports whether a value may be what a person typed: a slice of bytes, in a
// persons' folder, outside the places that may make text of it.
func (f *flows) isTyped(typ types.Type) bool {
	if !f.persons || typ == nil {
		return false
	}
	slice, ok := underlying(typ).(*types.Slice)
	if !ok {
		return false
	}
	if elem, ok := underlying(slice.Elem()).(*types.Basic); !ok || elem.Kind() != types.Uint8 {
		return false
	}
	if f.place != "" {
		f.used[f.place] = true
		return false
	}
	return true
}

func isText(typ types.Type) bool {
	basic, ok := underlying(typ).(*types.Basic)
	return ok && basic.Kind() == types.String
}

// opensPerson reports a use of a method that opens a person's value, or seals it again.
func (f *flows) opensPerson(n *ast.SelectorExpr) {
	fn, ok := f.p.Info.Uses[n.Sel].(*types.Func)
	if !ok || fn.Signature().Recv() == nil || fn.Pkg() == nil || !ours(fn.Pkg().Path()) {
		return
	}
	switch fn.Name() {
	case "OpenField", "ResealField":
		if f.opening != "" {
			f.used[f.opening] = true
			return
		}
		f.report(n.Pos(), fn.Name()+" opens what a person typed")
	}
}
