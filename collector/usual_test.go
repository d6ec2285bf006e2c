package collector

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestUsualAnswerHasItsHeadersInTheFirst(t *testing.T) { // not parallel: it counts allocations
	const (
		first   = "HTTP/1.1 204 No Content\r\nDate: Sun, 22 Nov 2026 12:00:30 GMT\r\n"
		later   = "HTTP/1.1 204 No Content\r\nDate: Sun, 22 Nov 2026 12:00:31 GMT\r\n"
		ending  = "HTTP/1.1 204 No Content\r\nDate: Sun, 22 Nov 2026 12:00:31 GMT\r\nConnection: close\r\n"
		headers = "Vary: Origin\r\nAccess-Control-Allow-Origin: https://a.nl\r\n"
		next    = "HTTP/1.1 100 Continue\r\n\r\n"
		end     = "\r\n"
	)
	u := newUsualAnswer("https://a.nl")
	for _, c := range []struct{ written, whole string }{
		{first + end, first + headers + end},
		{first + end, first + headers + end},
		{later + end, later + headers + end},
		{first + end, first + headers + end},
		{ending + end, ending + headers + end},
		{first + end + next, first + headers + end + next},
		{first + end + first + headers + end, first + headers + end + first + headers + end},
		{first + end, first + headers + end},
		{"", ""},
		{"no answer\r\n", "no answer\r\n"},
	} {
		written := []byte(c.written)
		if got := string(u.whole(written)); got != c.whole {
			t.Errorf("%q becomes %q, want %q", c.written, got, c.whole)
		}
		clear(written) // it is the server's, who writes the next one there
	}
	written := []byte(first + end)
	if n := testing.AllocsPerRun(100, func() { u.whole(written) }); n != 0 {
		t.Errorf("%v allocations for each answer of a second", n)
	}
	if a, b := u.whole(written), u.whole(written); &a[0] != &b[0] {
		t.Error("the answers of a second are not one")
	}
}

// Every answer lets the page read it, whether it is held, or written with the one to
// a request that came in one piece with its own, or not held at all.
func TestUsualAnswersLetThePageRead(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	hold := make(chan struct{})
	e.log.hold, e.log.arrived, e.log.over = hold, make(chan struct{}, 10), t.Context().Done()
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	e.start()
	post := func() string { return e.rawPost("?r=0", "", newPage(e)) }
	conn := e.dial(post())
	<-e.log.arrived // it waits, and its answer is held
	const nothing = "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
	if _, err := io.WriteString(conn, post()+nothing+post()+post()+e.rawPost("?r=0", "Connection: close\r\n", newPage(e))); err != nil {
		t.Fatal(err)
	}
	close(hold)
	from := bufio.NewReader(conn)
	for i, want := range []int{204, 204, 404, 204, 204, 204} {
		a, err := readAnswered(from)
		if err != nil {
			t.Fatal(err)
		}
		if a.status != want {
			t.Fatalf("answer %d is a %d, want %d", i, a.status, want)
		}
		if want == 204 && (len(a.header.Values("Vary")) != 1 || a.header.Get("Vary") != "Origin" ||
			len(a.header.Values(headerAllowOrigin)) != 1 || a.header.Get(headerAllowOrigin) != testOrigin) {
			t.Errorf("answer %d has the headers %v", i, a.header)
		}
	}
}

// Each answer is for the page that asked, where pages of two origins share a
// connection, as they do behind a proxy, in whatever pieces and versions.
func TestUsualAnswersAreToTheirOwnOrigin(t *testing.T) {
	t.Parallel()
	const other = "http://localhost:8080"
	e := newEdge(t, nil, nil)
	hold := make(chan struct{})
	e.log.hold, e.log.arrived, e.log.over = hold, make(chan struct{}, 10), t.Context().Done()
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	e.start()
	post := func(origin, headers, version string) string {
		raw := strings.Replace(e.rawPost("?r=0", headers, newPage(e)), "Origin: "+testOrigin, "Origin: "+origin, 1)
		return strings.Replace(raw, "HTTP/1.1", version, 1)
	}
	conn := e.dial(post(testOrigin, "", "HTTP/1.1"))
	<-e.log.arrived // it waits, and its answer is held
	want := []string{testOrigin, other, testOrigin, other, "", testOrigin, other, other}
	if _, err := io.WriteString(conn, post(other, "", "HTTP/1.1")+post(testOrigin, "Connection: keep-alive\r\n", "HTTP/1.0")+post(other, "Expect: 100-continue\r\n", "HTTP/1.1")+
		"HEAD "+PathScript+" HTTP/1.1\r\nHost: x\r\n\r\n"+post(testOrigin, "Expect: 100-continue\r\n", "HTTP/1.1")+post(other, "", "HTTP/1.1")+
		post(other, "Connection: close\r\n", "HTTP/1.1")); err != nil {
		t.Fatal(err)
	}
	close(hold)
	from := bufio.NewReader(conn)
	for i, origin := range want {
		method := http.MethodPost
		if origin == "" {
			method = http.MethodHead
		}
		res := readFinal(t, from, method) //nolint:bodyclose // readFinal closes it
		if origin == "" {
			continue // the script is everybody's
		}
		if allowed := res.Header.Values(headerAllowOrigin); res.StatusCode != http.StatusNoContent || len(allowed) != 1 || allowed[0] != origin || len(res.Header.Values("Date")) != 1 {
			t.Errorf("answer %d, to %s, is a %d with the headers %v", i, origin, res.StatusCode, res.Header)
		}
	}
	if rest, err := io.ReadAll(from); err != nil || len(rest) != 0 {
		t.Errorf("then %q, %v", rest, err)
	}
}

// readFinal reads the next answer that is no 100 Continue.
func readFinal(t *testing.T, from *bufio.Reader, method string) *http.Response {
	t.Helper()
	for {
		res, err := http.ReadResponse(from, &http.Request{Method: method})
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusContinue {
			return res
		}
	}
}
