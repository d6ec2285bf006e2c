package collector

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// headers is what the collector reads of a request's headers, in one pass over
// them. Its slices are views of the request's memory.
type headers struct {
	origin, referer  []byte // the first of each
	sawOrigin        bool
	sawReferer       bool
	contentEncoding  []byte // the first
	contentEncodings int    // how many there are
	gpc, dnt         bool   // any says 1
	prefetch         bool
	forwarded        [][]byte // every X-Forwarded-For
}

// read takes the headers in; names are compared as fasthttp normalises them.
func (h *headers) read(from *fasthttp.RequestHeader) {
	*h = headers{forwarded: h.forwarded[:0]}
	for name, value := range from.All() {
		switch string(name) {
		case "Origin":
			if !h.sawOrigin {
				h.origin, h.sawOrigin = value, true
			}
		case "Referer":
			if !h.sawReferer {
				h.referer, h.sawReferer = value, true
			}
		case "Content-Encoding":
			if h.contentEncodings == 0 {
				h.contentEncoding = value
			}
			h.contentEncodings++
		case "Sec-Gpc":
			h.gpc = h.gpc || isOne(value)
		case "Dnt":
			h.dnt = h.dnt || isOne(value)
		case "Sec-Purpose", "Purpose", "X-Purpose", "X-Moz": // the first replaced the others
			h.prefetch = h.prefetch || containsFold(value, "prefetch") || containsFold(value, "prerender") || containsFold(value, "preview")
		case "X-Forwarded-For":
			h.forwarded = append(h.forwarded, value)
		}
	}
}

// forget drops the views and keeps the memory of the list.
func (h *headers) forget() {
	clear(h.forwarded)
	*h = headers{forwarded: h.forwarded[:0]}
}

// isOne reports whether a signal's header says 1, and nothing else.
func isOne(value []byte) bool { return string(bytes.TrimSpace(value)) == "1" }

func containsFold(b []byte, lower string) bool {
	for i := 0; i+len(lower) <= len(b); i++ {
		if bytes.EqualFold(b[i:i+len(lower)], []byte(lower)) {
			return true
		}
	}
	return false
}

// arrived reports whether a header stood before the body. fasthttp merges the
// fields behind a chunked body into the headers, which RFC 9110, section 6.5.1,
// allows only for fields defined to be there. It has refused every name with a
// space before its colon.
func arrived(h *fasthttp.RequestHeader, header string) bool {
	for raw := h.RawHeaders(); len(raw) > len(header); {
		if raw[len(header)] == ':' && bytes.EqualFold(raw[:len(header)], []byte(header)) {
			return true
		}
		end := bytes.IndexByte(raw, '\n')
		if end < 0 {
			return false
		}
		raw = raw[end+1:]
	}
	return false
}
