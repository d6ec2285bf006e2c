package collector

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/metiva-io/metiva/collector/choice"
	"github.com/metiva-io/metiva/collector/mask"
	"github.com/metiva-io/metiva/collector/snippet"
	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// node is a part of the document: an object, a list or a value.
type node struct{ v any }

func (n node) at(path ...string) node {
	for _, name := range path {
		m, _ := n.v.(map[string]any)
		n = node{m[name]}
	}
	return n
}

// keys of an object, sorted.
func (n node) keys() []string {
	m, _ := n.v.(map[string]any)
	return slices.Sorted(maps.Keys(m))
}

func (n node) list() []any {
	l, _ := n.v.([]any)
	return l
}

// follow resolves a reference within the document.
func (n node) follow(doc node) node {
	if ref, ok := n.at("$ref").v.(string); ok {
		return doc.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...).follow(doc)
	}
	return n
}

func readOpenAPI(t *testing.T) node {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "docs", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return node{v}
}

func openAPIMethods() []string {
	return []string{"get", "head", "post", "put", "patch", "delete", "options"}
}

// startOpenAPIEdge runs a collector whose site has everything the examples need.
func startOpenAPIEdge(t *testing.T) *edge {
	t.Helper()
	e := startFormEdge(t, nil)
	rec := consentSite()
	texts := rec.Texts
	withForm(rec)
	rec.Texts = append(rec.Texts, texts...)
	rec.CustomProperties, rec.Version = []string{"plan"}, 100
	e.applySite(rec)
	return e
}

// address is a described path with its parameters filled in.
func address(path string) string {
	body := "snippet();"
	if strings.HasPrefix(path, adaptersVersionPrefix) {
		body = "adapters();"
	}
	return strings.ReplaceAll(path, "{version}", snippet.Version([]byte(body)))
}

// TestOpenAPIDescribesEveryRoute: a path or method is described if and only if
// the collector has it.
func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	t.Parallel()
	doc, e := readOpenAPI(t), startOpenAPIEdge(t)
	if version := doc.at("openapi").v; version != "3.1.0" {
		t.Errorf("OpenAPI %v", version)
	}
	described := map[string]bool{}
	for _, path := range doc.at("paths").keys() {
		described[strings.ReplaceAll(path, "{version}", "*")] = true
		var allowed []string
		for _, method := range openAPIMethods() {
			operation := doc.at("paths", path, method)
			a := e.do(strings.ToUpper(method), address(path), nil, browserHeaders())
			has := a.status != http.StatusMethodNotAllowed && a.status != http.StatusNotFound
			if has != (operation.v != nil) {
				t.Errorf("%s %s: answered %d, described: %v", method, path, a.status, operation.v != nil)
			}
			if !has {
				allowed = strings.Split(a.header.Get("Allow"), ", ")
			} else if operation.at("summary").v == nil || len(operation.at("responses").keys()) == 0 {
				t.Errorf("%s %s has no summary or no responses", method, path)
			}
			for _, status := range operation.at("responses").keys() {
				if operation.at("responses", status).follow(doc).at("description").v == nil {
					t.Errorf("%s %s: the answer %s has no description", method, path, status)
				}
			}
		}
		for _, method := range openAPIMethods() {
			if doc.at("paths", path, method).v != nil != slices.Contains(allowed, strings.ToUpper(method)) {
				t.Errorf("%s: Allow names %v", path, allowed)
			}
		}
	}
	for _, path := range routedPaths(t) {
		if !described[path] {
			t.Errorf("%s is routed and not described", path)
		}
	}
}

// routedPaths are the paths the package's constants name.
func routedPaths(t *testing.T) []string {
	t.Helper()
	var paths []string
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			if text, err := strconv.Unquote(literal.Value); err == nil && strings.HasPrefix(text, "/") && len(text) > 1 {
				if text == scriptVersionPrefix || text == adaptersVersionPrefix {
					text += "*" + scriptVersionSuffix
				}
				paths = append(paths, text)
			}
			return true
		})
	}
	if len(paths) < 6 {
		t.Errorf("paths found in the code: %v", paths)
	}
	return paths
}

// TestOpenAPIExamples sends each example to a collector.
func TestOpenAPIExamples(t *testing.T) {
	t.Parallel()
	doc, e := readOpenAPI(t), startOpenAPIEdge(t)
	ran := 0
	for _, path := range doc.at("paths").keys() {
		for _, method := range openAPIMethods() {
			operation := doc.at("paths", path, method)
			if operation.v == nil {
				continue
			}
			contents := operation.at("requestBody", "content")
			for _, kind := range contents.keys() {
				for _, name := range contents.at(kind, "examples").keys() {
					example := contents.at(kind, "examples", name)
					status, value := example.at("x-status").v, example.at("value").v
					a := e.sendExample(t, method, path, kind, value)
					if a.status != status {
						t.Errorf("%s %s, %s: answered %d %s, want %v", method, path, name, a.status, a.body, status)
					}
					described(t, doc, operation, a, method+" "+path+", "+name)
					if strings.HasPrefix(name, "one") || name == "contact" {
						if !strings.Contains(string(a.body), `"accepted"`) {
							t.Errorf("%s: not accepted: %s", name, a.body)
						}
					}
					ran++
				}
			}
			if contents.v != nil {
				continue
			}
			a := e.do(strings.ToUpper(method), address(path)+exampleQuery(operation), nil, browserHeaders())
			if a.status >= 300 {
				t.Errorf("%s %s: answered %d %s", method, path, a.status, a.body)
			}
			described(t, doc, operation, a, method+" "+path)
			ran++
		}
	}
	if ran < 15 {
		t.Errorf("%d examples ran", ran)
	}
}

// sendExample sends a body as a browser does, and follows no redirect.
func (e *edge) sendExample(t *testing.T, method, path, kind string, value any) answered {
	t.Helper()
	h := browserHeaders()
	h["Content-Type"] = kind
	var body string
	if kind == "application/x-www-form-urlencoded" {
		values := url.Values{}
		for name, text := range value.(map[string]any) {
			values.Set(name, fmt.Sprint(text))
		}
		body = values.Encode()
	} else {
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		body = string(raw)
	}
	req, err := http.NewRequest(strings.ToUpper(method), e.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range h {
		req.Header.Set(name, v)
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{status: res.StatusCode, header: res.Header, body: raw}
}

func exampleQuery(operation node) string {
	query := url.Values{}
	for _, p := range operation.at("parameters").list() {
		if parameter := (node{p}); parameter.at("in").v == "query" && parameter.at("example").v != nil {
			query.Set(parameter.at("name").v.(string), fmt.Sprint(parameter.at("example").v))
		}
	}
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}

// described checks that an answer's status, content type and members are among
// those of its operation.
func described(t *testing.T, doc, operation node, a answered, what string) {
	t.Helper()
	response := operation.at("responses", strconv.Itoa(a.status)).follow(doc)
	if response.v == nil {
		t.Errorf("%s: the status %d is not described", what, a.status)
		return
	}
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	if kind != "" && !slices.Contains(response.at("content").keys(), kind) {
		t.Errorf("%s: %d has the content type %s, which is not described", what, a.status, kind)
	}
	var body any
	if kind != "application/json" || json.Unmarshal(a.body, &body) != nil {
		return
	}
	if !fitsSchema(doc, response.at("content", kind, "schema"), node{body}) {
		t.Errorf("%s: %s does not fit its schema", what, a.body)
	}
}

// fitsSchema checks the part of JSON Schema the document's answers use: enum,
// required, properties, items and anyOf. A member without a description does not
// fit.
func fitsSchema(doc, schema, value node) bool {
	schema = schema.follow(doc)
	if options := schema.at("anyOf").list(); len(options) > 0 {
		return slices.ContainsFunc(options, func(o any) bool { return fitsSchema(doc, node{o}, value) })
	}
	if enum := schema.at("enum").list(); len(enum) > 0 && !slices.Contains(enum, value.v) {
		return false
	}
	for _, name := range schema.at("required").list() {
		if value.at(name.(string)).v == nil {
			return false
		}
	}
	for _, name := range value.keys() {
		property := schema.at("properties", name)
		if property.v == nil || !fitsSchema(doc, property, value.at(name)) {
			return false
		}
	}
	for _, item := range value.list() {
		if !fitsSchema(doc, schema.at("items"), node{item}) {
			return false
		}
	}
	return true
}

// TestOpenAPIReasonsAndLimits holds the closed sets and the numbers to the code.
func TestOpenAPIReasonsAndLimits(t *testing.T) {
	t.Parallel()
	doc := readOpenAPI(t)
	same := func(what string, got []any, want []string) {
		t.Helper()
		var texts []string
		for _, v := range got {
			texts = append(texts, fmt.Sprint(v))
		}
		slices.Sort(texts)
		slices.Sort(want)
		if !slices.Equal(texts, want) {
			t.Errorf("%s:\n  described %v\n  in the code %v", what, texts, want)
		}
	}
	var reasons []string
	for reason, label := range schemas.Labels(metivav1.Reason_REASON_UNSPECIFIED) {
		if reason > 0 && reason < metivav1.Reason_REASON_DUPLICATE { // the first that is not the edge's
			reasons = append(reasons, label)
		}
	}
	same("reasons", doc.at("components", "schemas", "Reason", "enum").list(), reasons)
	var choiceReasons []string
	for _, r := range []choiceReason{reasonNothingKept, reasonChoiceObjected, reasonContradicted, reasonSourceNotAccepted, reasonNotGranted, reasonUnknownText, reasonInvalidToken} {
		choiceReasons = append(choiceReasons, string(r))
	}
	same("reasons of choices", doc.at("components", "schemas", "ChoiceReason", "enum").list(), choiceReasons)
	same("outcomes", doc.at("components", "schemas", "CaptureResult", "properties", "outcome", "enum").list(),
		[]string{outcomeAccepted.String(), outcomeDropped.String(), outcomeRetry.String()})

	defaults := reflect.ValueOf(DefaultConfig())
	for _, name := range doc.at("x-limits").keys() {
		field := defaults.FieldByName(name)
		if !field.IsValid() || fmt.Sprint(field.Interface()) != fmt.Sprint(doc.at("x-limits", name).v) {
			t.Errorf("x-limits says %s is %v", name, doc.at("x-limits", name).v)
		}
	}
	s := doc.at("components", "schemas")
	for what, c := range map[string]struct {
		described node
		want      int
	}{
		"events of a batch":       {s.at("Batch", "properties", "events", "maxItems"), DefaultConfig().EventsPerRequestMax},
		"the last time":           {s.at("Time", "maximum"), 4_102_444_800_000},
		"the length of a page":    {s.at("Event", "properties", "url", "maxLength"), mask.URLBytesMax},
		"the visible time":        {s.at("Event", "properties", "visible_ms", "maximum"), schemas.VisibleMsMax},
		"the scrolled part":       {s.at("Event", "properties", "scroll", "maximum"), schemas.ScrollPercentMax},
		"a form's id":             {s.at("Event", "properties", "form", "maxLength"), schemas.FormIDBytesMax},
		"a custom event's name":   {s.at("Event", "properties", "name", "maxLength"), schemas.CustomNameBytesMax},
		"a field":                 {s.at("Capture", "properties", "fields", "additionalProperties", "maxLength"), schemas.FormFieldBytesMax},
		"a raw signal":            {s.at("Claim", "properties", "raw", "maxLength"), consent.RawSignalBytesMax},
		"a text version":          {s.at("Claim", "properties", "text_version", "maxLength"), consent.TextVersionBytesMax},
		"claims of a choice":      {s.at("Choice", "properties", "claims", "maxItems"), choice.ClaimsMax},
		"the variant of a banner": {s.at("Choice", "properties", "ui", "maxLength"), choice.VariantBytesMax},
	} {
		if fmt.Sprint(c.described.v) != strconv.Itoa(c.want) {
			t.Errorf("%s: described as %v, is %d", what, c.described.v, c.want)
		}
	}
}

// TestOpenAPIStatuses: each status the hostile corpus is answered with is
// described for its path and method.
func TestOpenAPIStatuses(t *testing.T) {
	t.Parallel()
	doc := readOpenAPI(t)
	rows := append(hostileRows(), hostileConsentRows(t)...)
	checked := 0
	for _, h := range rows {
		line, _, _ := strings.Cut(h.send, "\r\n")
		parts := strings.Fields(line)
		status, _, _ := strings.Cut(h.answer, " ")
		if len(parts) != 3 || len(status) != 3 || status == "100" { // an interim answer
			continue
		}
		path, _, _ := bytes.Cut([]byte(parts[1]), []byte{'?'})
		operation := doc.at("paths", string(path), strings.ToLower(parts[0]))
		if operation.v == nil {
			continue
		}
		checked++
		if operation.at("responses", status).v == nil {
			t.Errorf("%s %s is answered %s, which is not described (%s)", parts[0], path, status, h.name)
		}
	}
	if checked < 200 {
		t.Errorf("%d requests checked", checked)
	}
}
