package leaktest

import (
	"cmp"
	"go/types"
	"slices"
	"strings"
)

// answer is what is known of a named type.
type answer int

const (
	no answer = iota
	yes
	look // at what it is made of
)

// reaches reports whether typ is made of a type that ask says yes to: through
// pointers, elements, fields and type arguments, not through function types,
// which hold no value.
func reaches(typ types.Type, ask func(*types.TypeName) answer) bool {
	seen := map[types.Type]bool{}
	var walk func(types.Type) bool
	walk = func(typ types.Type) bool {
		if typ == nil || seen[typ] {
			return false
		}
		seen[typ] = true
		switch typ := typ.(type) {
		case *types.Alias:
			return walk(types.Unalias(typ))
		case *types.Named:
			for arg := range typ.TypeArgs().Types() {
				if walk(arg) {
					return true
				}
			}
			switch ask(typ.Origin().Obj()) {
			case yes:
				return true
			case no:
				return false
			case look:
			}
			return walk(typ.Underlying())
		case *types.Pointer:
			return walk(typ.Elem())
		case *types.Slice:
			return walk(typ.Elem())
		case *types.Array:
			return walk(typ.Elem())
		case *types.Chan:
			return walk(typ.Elem())
		case *types.Map:
			return walk(typ.Key()) || walk(typ.Elem())
		case *types.Tuple:
			for v := range typ.Variables() {
				if walk(v.Type()) {
					return true
				}
			}
		case *types.Struct:
			for field := range typ.Fields() {
				if walk(field.Type()) {
					return true
				}
			}
		}
		return false
	}
	return walk(typ)
}

func isNamed(named *types.TypeName, path string, names ...string) bool {
	return named.Pkg() != nil && named.Pkg().Path() == path && slices.Contains(names, named.Name())
}

// short is a type's name with its package's path inside the product.
func short(named *types.TypeName) string {
	return strings.TrimPrefix(named.Pkg().Path(), Module+"/") + "." + named.Name()
}

func underlying(typ types.Type) types.Type {
	if typ == nil {
		return nil
	}
	return typ.Underlying()
}

func isTypeParam(typ types.Type) bool {
	_, ok := types.Unalias(typ).(*types.TypeParam)
	return ok
}

func typeText(typ types.Type) string {
	return types.TypeString(typ, func(p *types.Package) string { return p.Name() })
}

// sorted puts breaches into the order of the files, once each.
func sorted(out []Breach) []Breach {
	slices.SortFunc(out, func(a, b Breach) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.What, b.What))
	})
	return slices.Compact(out)
}
