package snippet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metiva-io/metiva/collector/choice"
	"github.com/metiva-io/metiva/collector/snippet"
	"github.com/metiva-io/metiva/consent"
)

const siteKey = "pk_test"

// waitMax bounds every wait for something that must come.
const waitMax = 20 * time.Second

type event struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	At       int64  `json:"at"`
	URL      string `json:"url"`
	Referrer string `json:"referrer"`

	VisibleMs *int64            `json:"visible_ms"`
	Scroll    *int              `json:"scroll"`
	Kind      string            `json:"kind"`
	Target    string            `json:"target"`
	Action    string            `json:"action"`
	Form      string            `json:"form"`
	Name      string            `json:"name"`
	Props     map[string]string `json:"props"`
}

// choiceCall is a body of POST /v1/consent, as package choice reads it.
type choiceCall struct {
	choice.Call
	raw string
}

// capturePost is a body of POST /v1/captures.
type capturePost struct {
	Site, Form, ID, URL, Token string
	At, SentAt                 int64 `json:"-"`
	Consent                    struct {
		Given       bool
		TextVersion string `json:"text_version"`
	}
	Fields map[string]any

	raw string
}

type beacon struct {
	Site    string  `json:"site"`
	SentAt  int64   `json:"sent_at"`
	Consent string  `json:"consent"`
	Events  []event `json:"events"`

	header http.Header
	raw    string
}

// edge is a double of the collector's HTTP door with pages beside it. answer
// decides what the n-th beacon (from 0) gets; nil accepts all.
type edge struct {
	*httptest.Server
	beacons  chan beacon
	choices  chan choiceCall
	captures chan capturePost
	pages    map[string]string // what stands in a page, by path
	tag      string            // of every page
	rest     []event           // of the last beacon, for one

	mu       sync.Mutex
	answer   func(n int, b beacon) (status int, outcome string)
	refusals func(n int) int // status of the n-th call of /v1/consent, and of /v1/captures
	count    int
	calls    int
	posts    int
	faults   []string
	headers  http.Header // added to pages
}

func newEdge(t *testing.T) *edge {
	t.Helper()
	e := &edge{
		beacons: make(chan beacon, 100), choices: make(chan choiceCall, 100), captures: make(chan capturePost, 100),
		pages: map[string]string{}, headers: http.Header{}, tag: tagWith(""),
	}
	mux := http.NewServeMux()
	for name, script := range map[string][]byte{"s.js": snippet.Script(), "cmp.js": snippet.Adapters(), "banner.js": snippet.Banner()} {
		mux.HandleFunc("GET /v1/"+name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
			_, _ = w.Write(script)
		})
	}
	mux.HandleFunc("POST /v1/events", e.receive)
	mux.HandleFunc("POST /v1/consent", e.receiveChoice)
	mux.HandleFunc("POST /v1/captures", e.receiveCapture)
	mux.HandleFunc("GET /without", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!doctype html><title>without</title>")
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		for name, values := range e.headers {
			w.Header()[name] = values
		}
		body := e.pages[r.URL.Path]
		_, _ = fmt.Fprintf(w, "<!doctype html><title>%s</title>%s%s<p>page", r.URL.Path, e.tag, body)
	})
	e.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		e.Close()
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, fault := range e.faults {
			t.Error(fault)
		}
	})
	return e
}

// tagWith is the snippet's element with attributes besides its own.
func tagWith(attributes string) string {
	return `<script async src="/v1/s.js" data-site="` + siteKey + `" ` + attributes + `></script>`
}

// body reads one, and notes what every request must have.
func (e *edge) body(r *http.Request, into any) string {
	raw, err := io.ReadAll(r.Body)
	if err == nil && into != nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		e.fault("a body cannot be read: " + err.Error())
	}
	if got := r.Header.Get("Content-Type"); got != "text/plain;charset=UTF-8" {
		e.fault("content type " + got + " would need a preflight")
	}
	if r.Header.Get("Cookie") != "" {
		e.fault("a cookie was sent")
	}
	if len(raw) > 64<<10 {
		e.fault(fmt.Sprintf("a body of %d bytes", len(raw)))
	}
	return string(raw)
}

func (e *edge) fault(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults = append(e.faults, text)
}

// status is what the n-th request of a kind is answered with.
func (e *edge) status(n int) int {
	if e.refusals != nil {
		return e.refusals(n)
	}
	return http.StatusOK
}

// receiveChoice answers as the collector does: a grant with a token.
func (e *edge) receiveChoice(w http.ResponseWriter, r *http.Request) {
	raw := e.body(r, nil)
	call, err := choice.Parse([]byte(raw))
	if err != nil {
		e.fault("the collector would refuse " + raw)
	}
	e.mu.Lock()
	n := e.calls
	e.calls++
	status := e.status(n)
	e.mu.Unlock()
	w.WriteHeader(status)
	switch {
	case status != http.StatusOK:
		_, _ = io.WriteString(w, `{"reason":"not_ready"}`)
	case call.Action == choice.Withdraw:
		_, _ = io.WriteString(w, `{"state":"withdrawn"}`)
	case call.Claim.Choice.Answer == consent.AnswerGranted:
		_, _ = fmt.Fprintf(w, `{"state":"analytics","token":"token-%d","expires_at":%d}`, n, time.Now().Add(time.Hour).UnixMilli())
	default:
		_, _ = io.WriteString(w, `{"state":"denied"}`)
	}
	e.choices <- choiceCall{Call: call, raw: raw}
}

func (e *edge) receiveCapture(w http.ResponseWriter, r *http.Request) {
	var p capturePost
	p.raw = e.body(r, &p)
	e.mu.Lock()
	n := e.posts
	e.posts++
	status := e.status(n)
	e.mu.Unlock()
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"outcome":"accepted"}`)
	e.captures <- p
}

func (e *edge) receive(w http.ResponseWriter, r *http.Request) {
	var b beacon
	b.raw = e.body(r, &b)
	b.header = r.Header
	e.mu.Lock()
	n := e.count
	e.count++
	status, outcome := http.StatusOK, "accepted"
	if e.answer != nil {
		status, outcome = e.answer(n, b)
	}
	e.mu.Unlock()
	if r.URL.Query().Get("r") != "0" {
		e.fault("the results of accepted events are asked for")
	}
	if status == http.StatusOK && outcome == "accepted" {
		w.WriteHeader(http.StatusNoContent)
		e.beacons <- b
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	results := make([]map[string]string, 0, len(b.Events))
	for _, ev := range b.Events {
		results = append(results, map[string]string{"id": ev.ID, "outcome": outcome})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"results": results})
	e.beacons <- b
}

func (e *edge) next(t *testing.T) beacon {
	t.Helper()
	return receive(t, e.beacons)
}

// receive takes what comes next.
func receive[T any](t *testing.T, from chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(waitMax):
		t.Fatalf("no %T came", *new(T))
		return *new(T)
	}
}

// nextView returns the next beacon and checks that it is one view of path.
func (e *edge) nextView(t *testing.T, path string) beacon {
	t.Helper()
	b := e.next(t)
	if b.Site != siteKey || len(b.Events) != 1 {
		t.Fatalf("beacon %s: want one event of %s", b.raw, siteKey)
	}
	if ev := b.Events[0]; ev.Type != "page_view" || ev.URL != e.URL+path {
		t.Fatalf("event %+v: want a view of %s", ev, e.URL+path)
	}
	return b
}

// quiet fails when another beacon has come. It asks the page to send one last
// view of its own first, so that nothing is still on its way: beacons of one
// page arrive in order.
func (e *edge) quiet(t *testing.T, tab context.Context) {
	t.Helper()
	for _, ev := range e.rest {
		t.Errorf("one event too many: %+v", ev)
	}
	run(t, tab, js(`history.pushState(null, '', '/last-`+t.Name()[strings.LastIndex(t.Name(), "/")+1:]+`')`))
	b := e.next(t)
	if len(b.Events) != 1 || !strings.Contains(b.Events[0].URL, "/last-") {
		t.Errorf("one beacon too many: %s", b.raw)
	}
}
