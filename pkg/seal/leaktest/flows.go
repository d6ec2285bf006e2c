package leaktest

import (
	"go/ast"
	"go/token"
	"go/types"
)

// FlowRules are the exceptions of CheckFlows.
type FlowRules struct {
	// Boxed are types of the product that hold an address or a network and may become
	// an interface value all the same: "collector.work", with the reason.
	Boxed map[string]string
	// Visitors are the folders whose unsealed addresses are visitors'.
	Visitors []string
	// Open are the places in them that may turn an unsealed address or a network into
	// text, bytes or an interface value, as in NameRules.Places.
	Open map[string]string
	// Persons are the folders whose bytes are what a person typed. What is said of
	// addresses holds for every slice of bytes there, but for the places in Open.
	Persons []string
	// Opening are the places that may open or seal a person's value, as in
	// NameRules.Places.
	Opening map[string]string
}

// CheckFlows reports every place where a value that carries a seal.Address, a
// seal.Scratch or a person.Scratch becomes an interface value, an unsafe pointer or a type argument.
// In the visitors' folders the same holds for an unsealed address and for a
// network, such as an opened one; and an address must not become text or bytes
// there either. In the persons' folders no bytes become text, and nobody else opens a
// person's value.
func CheckFlows(w *World, rules FlowRules) []Breach {
	used := map[string]bool{}
	var out []Breach
	for _, p := range w.Packages {
		out = append(out, checkFlows(w, p, rules, used)...)
	}
	for _, list := range []map[string]string{rules.Boxed, rules.Open, rules.Opening} {
		for name := range list {
			if !used[name] {
				out = append(out, Breach{File: name, What: "listed, and nothing needs it"})
			}
		}
	}
	return sorted(out)
}

func checkFlows(w *World, p *Package, rules FlowRules, used map[string]bool) []Breach {
	f := &flows{w: w, p: p, rules: rules, used: used}
	f.visitors, f.persons = p.within(rules.Visitors), p.within(rules.Persons)
	for _, file := range p.Files {
		f.file(file)
	}
	f.hashes()
	return f.out
}

type flows struct {
	w     *World
	p     *Package
	rules FlowRules
	used  map[string]bool
	out   []Breach
	// visitors is set in a folder whose unsealed addresses are visitors'.
	visitors bool
	// persons is set in a folder whose bytes are persons'.
	persons bool
	// opening is the entry of Opening that covers the declaration at work, if any.
	opening string
	// place is the entry of Open that covers the declaration at work, if any.
	place string
	// results of the functions around the node at work, innermost last
	results []*types.Tuple
}

func (f *flows) report(at token.Pos, what string) { f.out = append(f.out, f.w.breach(at, what)) }

// carries reports whether typ is, holds or points to an Address or a Scratch.
func (f *flows) carries(typ types.Type) bool {
	return reaches(typ, func(named *types.TypeName) answer {
		switch {
		case isNamed(named, Module+"/pkg/seal", "Address", "Scratch"), isNamed(named, Module+"/enrich/person", "Scratch"):
			return yes
		case f.visitors && (isAddress(named) || isNamed(named, "net/netip", "Prefix")):
			if f.place != "" {
				f.used[f.place] = true
				return no
			}
			return yes
		case named.Pkg() == nil || !ours(named.Pkg().Path()):
			return no
		}
		if name := short(named); f.rules.Boxed[name] != "" {
			f.used[name] = true
			return no
		}
		return look
	})
}

// into reports a value of type from that is given where an interface is wanted.
func (f *flows) into(at token.Pos, from, to types.Type) {
	if from == nil || to == nil || types.IsInterface(from) || isTypeParam(to) {
		return // a type argument is reported where it is given
	}
	what := ""
	switch under := to.Underlying().(type) {
	case *types.Interface:
		what = "an interface value"
	case *types.Basic:
		if under.Kind() == types.UnsafePointer {
			what = "an unsafe pointer"
		}
	}
	if what != "" && (f.carries(from) || f.isTyped(from)) {
		f.report(at, "a "+typeText(from)+" becomes "+what)
	}
}

func (f *flows) typeOf(e ast.Expr) types.Type {
	if tv, ok := f.p.Info.Types[e]; ok {
		return tv.Type
	}
	if id, ok := e.(*ast.Ident); ok {
		if obj := f.p.Info.ObjectOf(id); obj != nil {
			return obj.Type()
		}
	}
	return nil
}

func (f *flows) give(e ast.Expr, to types.Type) { f.into(e.Pos(), f.typeOf(e), to) }

func (f *flows) file(file *ast.File) {
	for _, decl := range file.Decls {
		path := f.w.relative(f.w.Fset.Position(file.Package).Filename)
		f.place, f.opening = placeOf(f.rules.Open, path, decl), placeOf(f.rules.Opening, path, decl)
		f.decl(decl)
	}
}

func (f *flows) decl(decl ast.Decl) {
	var walk func(ast.Node) bool
	walk = func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Body != nil {
				f.within(f.p.Info.Defs[n.Name].Type(), n.Body, walk)
			}
			return false
		case *ast.FuncLit:
			f.within(f.typeOf(n), n.Body, walk)
			return false
		case *ast.CallExpr:
			f.call(n)
		case *ast.AssignStmt:
			f.assign(n)
		case *ast.ValueSpec:
			f.declare(n)
		case *ast.ReturnStmt:
			f.returns(n)
		case *ast.CompositeLit:
			f.composite(n)
		case *ast.SendStmt:
			if c, ok := f.typeOf(n.Chan).Underlying().(*types.Chan); ok {
				f.give(n.Value, c.Elem())
			}
		case *ast.IndexExpr:
			if m, ok := underlying(f.typeOf(n.X)).(*types.Map); ok {
				f.give(n.Index, m.Key())
			}
		case *ast.SelectorExpr:
			f.opens(n)
			f.opensPerson(n)
		case *ast.RangeStmt:
			f.ranges(n)
		case *ast.Ident:
			f.instance(n)
		}
		return true
	}
	ast.Inspect(decl, walk)
}

// opens reports a method that turns an unsealed address into text or bytes.
func (f *flows) opens(n *ast.SelectorExpr) {
	sel := f.p.Info.Selections[n]
	if !f.visitors || sel == nil || sel.Kind() == types.FieldVal {
		return
	}
	named, ok := types.Unalias(deref(sel.Recv())).(*types.Named)
	if !ok || !isAddress(named.Obj()) && !isNamed(named.Obj(), "net/netip", "Prefix") {
		return
	}
	switch name := n.Sel.Name; name {
	case "String", "StringExpanded", "Network", "MarshalText", "MarshalBinary", "AppendTo", "AppendText", "AppendBinary", "AsSlice", "As4", "As16":
		if f.place != "" {
			f.used[f.place] = true
			return
		}
		f.report(n.Pos(), name+" takes an unsealed address apart")
	}
}

func deref(typ types.Type) types.Type {
	if p, ok := types.Unalias(typ).(*types.Pointer); ok {
		return p.Elem()
	}
	return typ
}

func (f *flows) within(typ types.Type, body *ast.BlockStmt, walk func(ast.Node) bool) {
	sig, ok := typ.(*types.Signature)
	if !ok {
		return
	}
	f.results = append(f.results, sig.Results())
	ast.Inspect(body, walk)
	f.results = f.results[:len(f.results)-1]
}

func (f *flows) call(n *ast.CallExpr) {
	fun := f.p.Info.Types[n.Fun]
	if fun.IsType() { // a conversion
		if len(n.Args) == 1 {
			f.give(n.Args[0], fun.Type)
			if from := f.typeOf(n.Args[0]); from != nil && f.carries(from) && !f.carries(fun.Type) && !types.IsInterface(fun.Type) {
				f.report(n.Pos(), "a "+typeText(from)+" is converted to "+typeText(fun.Type))
			}
			if from := f.typeOf(n.Args[0]); isText(fun.Type) && f.isTyped(from) {
				f.report(n.Pos(), "what a person typed becomes text")
			}
		}
		return
	}
	sig, ok := underlying(fun.Type).(*types.Signature)
	if !ok {
		return
	}
	if fun.IsBuiltin() {
		for _, arg := range n.Args {
			if id, ok := ast.Unparen(n.Fun).(*ast.Ident); ok && (id.Name == "panic" || id.Name == "print" || id.Name == "println") {
				f.give(arg, types.NewInterfaceType(nil, nil))
			}
		}
	}
	var given []types.Type
	if len(n.Args) == 1 {
		if tuple, ok := f.typeOf(n.Args[0]).(*types.Tuple); ok { // f(g())
			for v := range tuple.Variables() {
				given = append(given, v.Type())
			}
		}
	}
	if given == nil {
		for _, arg := range n.Args {
			given = append(given, f.typeOf(arg))
		}
	}
	for i, from := range given {
		f.into(n.Args[min(i, len(n.Args)-1)].Pos(), from, parameter(sig, i, n.Ellipsis.IsValid()))
	}
}

// parameter is the type the i-th argument is given to.
func parameter(sig *types.Signature, i int, spread bool) types.Type {
	last := sig.Params().Len() - 1
	switch {
	case last < 0:
		return nil
	case !sig.Variadic() || i < last || spread && i == last:
		if i > last {
			return nil
		}
		return sig.Params().At(i).Type()
	}
	if s, ok := sig.Params().At(last).Type().Underlying().(*types.Slice); ok {
		return s.Elem()
	}
	return nil
}

func (f *flows) assign(n *ast.AssignStmt) {
	if len(n.Lhs) == len(n.Rhs) {
		for i := range n.Lhs {
			f.give(n.Rhs[i], f.typeOf(n.Lhs[i]))
		}
		return
	}
	if tuple, ok := f.typeOf(n.Rhs[0]).(*types.Tuple); ok {
		for i := range n.Lhs {
			f.into(n.Rhs[0].Pos(), tuple.At(i).Type(), f.typeOf(n.Lhs[i]))
		}
	}
}

func (f *flows) declare(n *ast.ValueSpec) {
	if n.Type == nil {
		return
	}
	to := f.typeOf(n.Type)
	for _, v := range n.Values {
		if tuple, ok := f.typeOf(v).(*types.Tuple); ok {
			for x := range tuple.Variables() {
				f.into(v.Pos(), x.Type(), to)
			}
			continue
		}
		f.give(v, to)
	}
}

func (f *flows) returns(n *ast.ReturnStmt) {
	if len(f.results) == 0 {
		return
	}
	want := f.results[len(f.results)-1]
	if len(n.Results) == 1 && want.Len() > 1 {
		if tuple, ok := f.typeOf(n.Results[0]).(*types.Tuple); ok {
			for i := range tuple.Len() {
				f.into(n.Pos(), tuple.At(i).Type(), want.At(i).Type())
			}
		}
		return
	}
	for i, r := range n.Results {
		f.give(r, want.At(i).Type())
	}
}

func (f *flows) composite(n *ast.CompositeLit) {
	for i, elt := range n.Elts {
		pair, keyed := elt.(*ast.KeyValueExpr)
		value := elt
		if keyed {
			value = pair.Value
		}
		typ := underlying(f.typeOf(n))
		if p, ok := typ.(*types.Pointer); ok { // &T{} inside a literal, written {}
			typ = underlying(p.Elem())
		}
		switch typ := typ.(type) {
		case *types.Struct:
			if !keyed {
				f.give(value, typ.Field(i).Type())
			} else if id, ok := pair.Key.(*ast.Ident); ok {
				f.give(value, f.p.Info.ObjectOf(id).Type())
			}
		case *types.Map:
			f.give(value, typ.Elem())
			f.give(pair.Key, typ.Key())
		case *types.Slice:
			f.give(value, typ.Elem())
		case *types.Array:
			f.give(value, typ.Elem())
		}
	}
}

func (f *flows) ranges(n *ast.RangeStmt) {
	if n.Tok != token.ASSIGN {
		return
	}
	var key, value types.Type
	switch over := underlying(f.typeOf(n.X)).(type) {
	case *types.Map:
		key, value = over.Key(), over.Elem()
	case *types.Slice:
		value = over.Elem()
	case *types.Array:
		value = over.Elem()
	case *types.Chan:
		key = over.Elem()
	case *types.Signature: // an iterator: its yield's parameters
		if yield, ok := underlying(over.Params().At(0).Type()).(*types.Signature); ok {
			if yield.Params().Len() > 0 {
				key = yield.Params().At(0).Type()
			}
			if yield.Params().Len() > 1 {
				value = yield.Params().At(1).Type()
			}
		}
	}
	if n.Key != nil {
		f.into(n.Key.Pos(), key, f.typeOf(n.Key))
	}
	if n.Value != nil {
		f.into(n.Value.Pos(), value, f.typeOf(n.Value))
	}
}

// instance reports a type argument that carries an Address: inside the generic
// code it could become an interface value.
func (f *flows) instance(id *ast.Ident) {
	inst, ok := f.p.Info.Instances[id]
	if !ok {
		return
	}
	for arg := range inst.TypeArgs.Types() {
		if f.carries(arg) || f.isTyped(arg) {
			f.report(id.Pos(), "a "+typeText(arg)+" becomes a type argument")
		}
	}
}

// hashes reports types of the product that Address.WriteNetworkTo would take.
func (f *flows) hashes() {
	for _, name := range f.p.Types.Scope().Names() {
		named, ok := f.p.Types.Scope().Lookup(name).(*types.TypeName)
		if !ok || types.IsInterface(named.Type()) {
			continue
		}
		methods := types.NewMethodSet(types.NewPointer(named.Type()))
		if methods.Lookup(nil, "Write") != nil && methods.Lookup(nil, "Sum") != nil && methods.Lookup(nil, "BlockSize") != nil {
			f.report(named.Pos(), "the type "+name+" is a hash.Hash, which an Address writes its network to")
		}
	}
}
