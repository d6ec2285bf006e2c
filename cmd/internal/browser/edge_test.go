package browser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// passed is one request of the browser, as the proxy saw it.
type passed struct {
	Method, Path, Body string
	Header             http.Header
	Status             int // 0 when the collector did not answer
	Answer             string
}

// edge is the proxy between one test's browser and the collector: what a load
// balancer is in production. Its address is where the test's pages find the script.
type edge struct {
	*httptest.Server
	target  string
	visitor string // address of the visitor, for X-Forwarded-For
	client  *http.Client

	mu       sync.Mutex
	requests []passed
	flying   int
	events   int  // that were handed to the collector
	down     bool // connections are ended without an answer
	mute     bool // requests are passed on, and their answers lost
	refused  int  // while it was down
	// answer, when set, may answer in the collector's place: 0 lets the request
	// through.
	answer func(r *http.Request, body []byte) (status int, header http.Header)
}

const proxyTimeout = 30 * time.Second

func newEdge(t *testing.T, target, visitor string) *edge {
	t.Helper()
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 4}
	e := &edge{target: target, visitor: visitor, client: &http.Client{
		Transport: transport, Timeout: proxyTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	e.Server = httptest.NewServer(e)
	t.Cleanup(func() {
		e.CloseClientConnections()
		e.Close()
		transport.CloseIdleConnections()
	})
	return e
}

// ServeHTTP passes a request on and remembers it.
func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	e.mu.Lock()
	down, answer := e.down, e.answer
	if down {
		e.refused++
	}
	e.mu.Unlock()
	if down || err != nil {
		panic(http.ErrAbortHandler)
	}
	p := passed{Method: r.Method, Path: r.URL.Path, Body: string(body), Header: r.Header.Clone()}
	if answer != nil {
		status, header := answer(r, body)
		if status != 0 {
			for name, values := range header {
				w.Header()[name] = values
			}
			w.WriteHeader(status)
			return
		}
	}
	e.enter()
	res, err := e.pass(r, body)
	if err != nil {
		e.leave(p, false)
		panic(http.ErrAbortHandler)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	p.Status, p.Answer = res.StatusCode, string(raw)
	e.leave(p, err == nil)
	if e.isMute() {
		panic(http.ErrAbortHandler)
	}
	for name, values := range res.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(res.StatusCode)
	_, _ = w.Write(raw)
}

func (e *edge) pass(r *http.Request, body []byte) (*http.Response, error) {
	// Not the browser's context: what has arrived is passed on when it is gone.
	req, err := http.NewRequest(r.Method, e.target+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = r.Header.Clone()
	req.Header.Set("X-Forwarded-For", e.visitor)
	return e.client.Do(req)
}

func (e *edge) enter() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.flying++
}

func (e *edge) leave(p passed, answered bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.flying--
	e.requests = append(e.requests, p)
	if answered {
		e.events += p.events()
	}
}

// events is how many events of the ledger the request is.
func (p passed) events() int {
	switch {
	case p.Method != http.MethodPost:
		return 0
	case p.Path == "/v1/captures":
		return 1
	case p.Path == "/v1/events":
		return len(p.batch().Events)
	}
	return 0
}

// batch is the body of a request to /v1/events.
type batch struct {
	Site    string           `json:"site"`
	Consent string           `json:"consent"`
	Events  []map[string]any `json:"events"`
}

func (p passed) batch() (b batch) {
	_ = json.Unmarshal([]byte(p.Body), &b)
	return b
}

// counts are the events the collector has had, and the requests under way.
func (e *edge) counts() (events, flying int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.events, e.flying
}

// list are the requests to paths that begin so, but for the script's own.
func (e *edge) list(path string) []passed {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []passed
	for _, p := range e.requests {
		if strings.HasPrefix(p.Path, path) && p.Method != http.MethodOptions {
			out = append(out, p)
		}
	}
	return out
}

// until waits for n requests to a path.
func (e *edge) until(t *testing.T, path string, n int) []passed {
	t.Helper()
	var got []passed
	wait(t, waitMax, func() error {
		if got = e.list(path); len(got) < n {
			return fmt.Errorf("%d requests to %s, want %d", len(got), path, n)
		}
		return nil
	})
	return got
}

// setDown ends every connection and refuses further ones, or takes them again.
func (e *edge) setDown(down bool) {
	e.mu.Lock()
	e.down = down
	e.mu.Unlock()
	if down {
		e.CloseClientConnections()
	}
}

// setMute loses the answers of the collector from now on, or no longer.
func (e *edge) setMute(mute bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mute = mute
}

func (e *edge) isMute() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.mute
}

// untilRefused waits until n requests have met the proxy while it was down.
func (e *edge) untilRefused(t *testing.T, n int) {
	t.Helper()
	wait(t, waitMax, func() error {
		if got := e.refusals(); got < n {
			return fmt.Errorf("%d requests while the collector was away, want %d", got, n)
		}
		return nil
	})
}

// refusals is how many requests have met the proxy while it was down.
func (e *edge) refusals() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.refused
}

// replace answers in the collector's place from now on; nil ends it.
func (e *edge) replace(answer func(r *http.Request, body []byte) (status int, header http.Header)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = answer
}

// sentNothingBut fails when the browser sent anything but the script's own request
// and those to the paths.
func (e *edge) sentNothingBut(t *testing.T, paths ...string) {
	t.Helper()
	for _, p := range e.list("/") {
		if strings.HasPrefix(p.Path, "/v1/s.") || slices.Contains(paths, p.Path) {
			continue
		}
		t.Errorf("%s %s was sent: %.300s", p.Method, p.Path, p.Body)
	}
}
