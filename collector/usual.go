package collector

import (
	"bufio"
	"bytes"
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

// usualAnswer is the answer of nearly every request from one origin of a site: 204,
// to be held until its records are durable. The server writes it without the headers
// that let the page read it; whole puts them in. As the answers of a second are the
// same, they share one copy, which is never changed.
type usualAnswer struct {
	origin  string
	headers string
	last    atomic.Pointer[toldAnswer]
	now     atomic.Pointer[dateAnswer]
}

// dateAnswer is the answer of a second, which is in Unix time.
type dateAnswer struct {
	second int64
	answer []byte
}

// toldAnswer is an answer as the server writes it, and with the headers.
type toldAnswer struct{ bare, whole []byte }

func newUsualAnswer(origin string) *usualAnswer {
	return &usualAnswer{origin: origin, headers: "Vary: Origin\r\n" + headerAllowOrigin + ": " + origin + "\r\n"}
}

const headerAllowOrigin = "Access-Control-Allow-Origin"

// whole is what the server wrote, with the headers in the first answer of it. The
// result is not to be changed.
func (u *usualAnswer) whole(written []byte) []byte {
	if last := u.last.Load(); last != nil && string(last.bare) == string(written) {
		return last.whole
	}
	lineEnd, end := len("\r\n"), bytes.Index(written, []byte("\r\n\r\n"))
	if end < 0 {
		return written
	}
	whole := make([]byte, 0, len(written)+len(u.headers))
	whole = append(whole, written[:end+lineEnd]...)
	whole = append(whole, u.headers...)
	whole = append(whole, written[end+lineEnd:]...)
	if end+2*lineEnd == len(written) {
		u.last.Store(&toldAnswer{bare: bytes.Clone(written), whole: whole})
	}
	return whole
}

// at is the answer in a second, written. It is not to be changed.
func (u *usualAnswer) at(second int64) []byte {
	if now := u.now.Load(); now != nil && now.second == second {
		return now.answer
	}
	var res fasthttp.Response
	res.Header.SetNoDefaultContentType(true)
	res.SetStatusCode(fasthttp.StatusNoContent)
	u.allow(&res)
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	_ = res.Write(w) // into memory
	_ = w.Flush()
	u.now.Store(&dateAnswer{second: second, answer: out.Bytes()})
	return out.Bytes()
}

// allow puts the headers into an answer that is not held.
func (u *usualAnswer) allow(res *fasthttp.Response) { allowOriginIn(res, []byte(u.origin)) }

// allowOriginIn lets pages of an origin read the answer.
func allowOriginIn(res *fasthttp.Response, origin []byte) {
	varyByOrigin(res)
	res.Header.SetCanonical([]byte(headerAllowOrigin), origin)
}

func varyByOrigin(res *fasthttp.Response) {
	res.Header.SetCanonical([]byte("Vary"), []byte("Origin"))
}
