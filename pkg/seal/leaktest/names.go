package leaktest

import (
	"go/ast"
	"go/constant"
	"go/types"
	"slices"
	"strings"
)

// NameRules are the exceptions of CheckNames, each with its reason.
type NameRules struct {
	// Places may handle unsealed addresses: a file ("collector/peer.go"), a function
	// or type of one ("collector/request.go#readAddress"), or a folder ("enrich/geo/").
	Places map[string]string
	// Holders are types of the product that hold an address and may be handled
	// anywhere; the address itself may not.
	Holders map[string]string
}

// isAddress reports whether a type holds an address that is not truncated. A
// netip.Prefix is none: it is made from a netip.Addr, which is looked at, or from
// text. Nor is a net.Addr, which is a listener's as well: what gives the one of
// a peer is looked at instead.
func isAddress(named *types.TypeName) bool {
	return isNamed(named, "net/netip", "Addr", "AddrPort") ||
		isNamed(named, "net", "IP", "IPAddr", "IPNet", "TCPAddr", "UDPAddr")
}

// givesPeer reports whether a method or field gives a peer's address in a form
// that has no address type.
func givesPeer(obj types.Object) bool {
	if obj.Pkg() == nil {
		return false
	}
	switch obj.Name() {
	case "RemoteAddr": // of net.Conn, fasthttp.RequestCtx, http.Request and their like
		return true
	case "HeaderXForwardedFor":
		return obj.Pkg().Path() == "github.com/valyala/fasthttp"
	}
	return isMethod(obj, "PacketConn", "ReadFrom") || isMethod(obj, "RequestCtx", "String") || isMethod(obj, "RequestCtx", "Logger")
}

func isMethod(obj types.Object, receiver, name string) bool {
	fn, ok := obj.(*types.Func)
	if !ok || obj.Name() != name || fn.Signature().Recv() == nil {
		return false
	}
	typ := fn.Signature().Recv().Type()
	if p, ok := types.Unalias(typ).(*types.Pointer); ok {
		typ = p.Elem()
	}
	named, ok := types.Unalias(typ).(*types.Named)
	return ok && named.Obj().Name() == receiver
}

// addressHeaders carry the visitor's address.
func addressHeaders() []string {
	return []string{"x-forwarded-for", "forwarded", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip", "fastly-client-ip"}
}

// CheckNames reports every expression outside the listed files whose type is an
// unsealed address or is made of one, and every place that reads one as text.
func CheckNames(w *World, rules NameRules) []Breach {
	used := map[string]bool{}
	var out []Breach
	for _, p := range w.Packages {
		out = append(out, checkNames(w, p, rules, used)...)
	}
	for _, list := range []map[string]string{rules.Places, rules.Holders} {
		for name := range list {
			if !used[name] {
				out = append(out, Breach{File: name, What: "listed, and nothing needs it"})
			}
		}
	}
	return sorted(out)
}

func checkNames(w *World, p *Package, rules NameRules, used map[string]bool) []Breach {
	var out []Breach
	for _, file := range p.Files {
		path := w.relative(w.Fset.Position(file.Package).Filename)
		for _, decl := range file.Decls {
			found := declNames(w, p, decl, rules, used)
			if place := placeOf(rules.Places, path, decl); place == "" {
				out = append(out, found...)
			} else if len(found) > 0 {
				used[place] = true
			}
		}
	}
	return out
}

// placeOf is the entry that covers a declaration; empty for none.
func placeOf(places map[string]string, path string, decl ast.Decl) string {
	for _, name := range declared(decl) {
		if place := path + "#" + name; places[place] != "" {
			return place
		}
	}
	for place := range places {
		if place == path || strings.HasSuffix(place, "/") && strings.HasPrefix(path, place) {
			return place
		}
	}
	return ""
}

// declared is the name of a function, or of the types of a declaration.
func declared(decl ast.Decl) []string {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		return []string{decl.Name.Name}
	case *ast.GenDecl:
		var out []string
		for _, spec := range decl.Specs {
			if t, ok := spec.(*ast.TypeSpec); ok {
				out = append(out, t.Name.Name)
			}
		}
		return out
	}
	return nil
}

func declNames(w *World, p *Package, decl ast.Decl, rules NameRules, used map[string]bool) []Breach {
	made := func(typ types.Type) bool {
		return reaches(typ, func(named *types.TypeName) answer {
			switch {
			case isAddress(named):
				return yes
			case named.Pkg() == nil || !ours(named.Pkg().Path()):
				return no
			}
			if name := short(named); rules.Holders[name] != "" {
				used[name] = true
				return no
			}
			return look
		})
	}
	var out []Breach
	ast.Inspect(decl, func(n ast.Node) bool {
		if _, ok := n.(*ast.ImportSpec); ok {
			return false
		}
		if id, ok := n.(*ast.Ident); ok {
			if obj := p.Info.ObjectOf(id); obj != nil && givesPeer(obj) {
				out = append(out, w.breach(id.Pos(), obj.Name()+" gives the address of a peer"))
			}
			if obj, ok := p.Info.Defs[id].(*types.Var); ok && made(obj.Type()) {
				out = append(out, w.breach(id.Pos(), "an unsealed address: "+typeText(obj.Type())))
			}
		}
		expr, ok := n.(ast.Expr)
		if !ok {
			return true
		}
		tv, ok := p.Info.Types[expr]
		switch {
		case !ok:
		case tv.Value != nil && tv.Value.Kind() == constant.String && slices.Contains(addressHeaders(), strings.ToLower(constant.StringVal(tv.Value))):
			out = append(out, w.breach(expr.Pos(), "the header "+constant.StringVal(tv.Value)+" holds an address"))
		case made(tv.Type):
			out = append(out, w.breach(expr.Pos(), "an unsealed address: "+typeText(tv.Type)))
		}
		return true
	})
	return out
}
