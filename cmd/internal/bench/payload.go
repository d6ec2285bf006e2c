package bench

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// batchEvents is how many page views a batched request carries.
const batchEvents = 10

// requestsPerConnection is how many different requests each connection sends in
// turn. With 512 connections they come from 8,192 networks.
const requestsPerConnection = 16

// visitors makes the requests of the mix: which page, browser, network and
// consent a request has depends on its number alone.
type visitors struct {
	host, siteKey string
	tokens        []string // consent tokens; every second visitor sends one
	// results: they ask for the result of each event, as the snippet does not.
	results bool
}

// request is the bytes of one request and where what changes with each sending
// stands in them.
type request struct {
	raw    []byte
	ids    []int
	times  []moment
	events int
}

// moment is a time of 13 digits, in milliseconds, so long before the sending.
type moment struct {
	at    int
	ageMs int64
}

const (
	idPlace     = "00000000-0000-7000-8000-000000000000"
	timePlace   = "0000000000000"
	pageEveryMs = 1500
)

// of makes the n-th request, with the given number of page views.
func (v visitors) of(n, events int) *request {
	pages, browser := pageViews(), browsers()[n%len(browsers())]
	r := &request{events: events}
	var body bytes.Buffer
	writeTime := func(ageMs int64) {
		r.times = append(r.times, moment{body.Len(), ageMs})
		body.WriteString(timePlace)
	}
	fmt.Fprintf(&body, `{"site":%q,"sent_at":`, v.siteKey)
	writeTime(0)
	if len(v.tokens) > 0 && n%2 == 1 {
		fmt.Fprintf(&body, `,"consent":%q`, v.tokens[n%len(v.tokens)])
	}
	body.WriteString(`,"events":[`)
	for i := range events {
		page := pages[(n+i)%len(pages)]
		if i > 0 {
			body.WriteByte(',')
		}
		body.WriteString(`{"id":"`)
		r.ids = append(r.ids, body.Len())
		body.WriteString(idPlace + `","type":"page_view","at":`)
		writeTime(int64(events-1-i)*pageEveryMs + int64(n%40))
		fmt.Fprintf(&body, `,"url":%q`, origin+page.page)
		if page.referrer != "" {
			fmt.Fprintf(&body, `,"referrer":%q`, page.referrer)
		}
		body.WriteByte('}')
	}
	body.WriteString(`]}`)

	var head bytes.Buffer
	query := "?r=0"
	if v.results {
		query = ""
	}
	fmt.Fprintf(&head, "POST /v1/events%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n%s", query, v.host, body.Len(), browser.hints)
	fmt.Fprintf(&head, "User-Agent: %s\r\nContent-Type: text/plain;charset=UTF-8\r\nAccept: */*\r\nOrigin: %s\r\n", browser.agent, origin)
	fmt.Fprintf(&head, "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nReferer: %s/\r\n", origin)
	fmt.Fprintf(&head, "Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: %s\r\nX-Forwarded-For: %s\r\n\r\n", browser.languages, network(n))
	for i := range r.ids {
		r.ids[i] += head.Len()
	}
	for i := range r.times {
		r.times[i].at += head.Len()
	}
	r.raw = append(head.Bytes(), body.Bytes()...)
	return r
}

// network is an address in the n-th of some 65,000 networks; every fourth is of
// IPv6. None of them stands for anybody: nothing is looked up here.
func network(n int) string {
	if n%4 == 3 {
		return fmt.Sprintf("2a02:a4%02x:%x::%x", n>>12&0xff, n&0xfff, 1+n%251)
	}
	return fmt.Sprintf("145.%d.%d.%d", n>>8&0xff, n&0xff, 1+n%251)
}

// freshen gives every event an id that was never sent, and the times of now.
func (r *request) freshen(now time.Time, ids *idSource) {
	ms := now.UnixMilli()
	for _, at := range r.ids {
		ids.write(r.raw[at:at+len(idPlace)], ms)
	}
	for _, m := range r.times {
		v := ms - m.ageMs
		for i := m.at + len(timePlace) - 1; i >= m.at; i-- {
			r.raw[i] = byte('0' + v%10)
			v /= 10
		}
	}
}

// idSource makes UUIDv7 texts. It starts at a random place and mixes a counter
// from there (splitmix64): reading the system's randomness for each id would
// cost the load as much as the rest of it.
type idSource struct{ state uint64 }

func newIDSource() *idSource {
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails (crypto/rand)
	return &idSource{binary.LittleEndian.Uint64(seed[:])}
}

func (s *idSource) next() uint64 {
	s.state += 0x9e3779b97f4a7c15
	z := s.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// write puts the id into the 36 bytes of dst.
func (s *idSource) write(dst []byte, ms int64) {
	var id [16]byte
	a, b := s.next(), s.next()
	binary.BigEndian.PutUint64(id[:8], uint64(ms)<<16|0x7000|a&0xfff)
	binary.BigEndian.PutUint64(id[8:], 1<<63|b>>2)
	hex.Encode(dst[0:8], id[0:4])
	hex.Encode(dst[9:13], id[4:6])
	hex.Encode(dst[14:18], id[6:8])
	hex.Encode(dst[19:23], id[8:10])
	hex.Encode(dst[24:36], id[10:16])
}
