package mask

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unicode/utf8"

	"github.com/metiva-io/metiva/schemas"
)

// URLBytesMax is the longest URL that is read.
const URLBytesMax = 4096

// ErrURL means the text is not an absolute http or https URL.
var ErrURL = errors.New("mask: not a web address")

// Page is a reduced page URL. Its slices are its own memory and valid until the
// next Reduce.
type Page struct {
	Origin []byte // scheme://host[:port], lower case, without a default port
	Host   []byte
	Path   []byte

	// utm_source, utm_medium, utm_campaign
	Source, Medium, Campaign []byte

	decoder decoder
}

// Reduce reads an absolute http or https URL.
func (p *Page) Reduce(raw []byte) error {
	u, ok := split(raw)
	if !ok || !u.web() {
		return ErrURL
	}
	p.Origin = u.appendOrigin(p.Origin[:0])
	p.Host = u.appendHost(p.Host[:0])
	p.Path = p.decoder.appendPath(p.Path[:0], u.path)
	p.Source, p.Medium, p.Campaign = p.Source[:0], p.Medium[:0], p.Campaign[:0]
	p.readCampaign(u.query)
	return nil
}

// readCampaign takes the first of each allow-listed parameter.
func (p *Page) readCampaign(query []byte) {
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = cutAt(query, '&')
		if !bytes.HasPrefix(pair, []byte("utm_")) {
			continue
		}
		name, value, _ := cutAt(pair, '=')
		var field *[]byte
		switch string(name) {
		case "utm_source":
			field = &p.Source
		case "utm_medium":
			field = &p.Medium
		case "utm_campaign":
			field = &p.Campaign
		default:
			continue
		}
		if len(*field) == 0 {
			*field = p.decoder.appendCampaign(*field, value)
		}
	}
}

// AppendOrigin appends the origin of an absolute http or https URL, or of an
// Origin header, to dst; ok is false when there is none.
func AppendOrigin(dst, raw []byte) (origin []byte, ok bool) {
	u, ok := split(raw)
	if !ok || !u.web() {
		return dst, false
	}
	return u.appendOrigin(dst), true
}

// AppendReferrerHost appends the host of a referrer to dst: of a web page or an
// Android application. It appends nothing when there is none, or when the host
// is an address instead of a name: such a host names a machine in someone's
// network, as does one whose labels make an address or a number together.
// Labels that look like a token or a number become "masked".
func AppendReferrerHost(dst, raw []byte) []byte {
	u, ok := split(raw)
	if !ok || !u.web() && !equalFold(u.scheme, "android-app") {
		return dst
	}
	return appendHost(dst, u.host)
}

// appendHost appends a host of somebody else, masked; nothing for an address.
func appendHost(dst, host []byte) []byte {
	if isOrdinary(host) {
		return append(dst, bytes.TrimSuffix(host, []byte{'.'})...)
	}
	return appendMaskedHost(dst, host)
}

func appendMaskedHost(dst, host []byte) []byte {
	if isIPHost(host) {
		return dst
	}
	start := len(dst)
	for first := true; len(host) > 0; first = false {
		var label []byte
		label, host, _ = cutAt(host, '.')
		if !first {
			dst = append(dst, '.')
		}
		if found(label) != nothing {
			dst = append(dst, maskedName...)
			continue
		}
		dst = appendLower(dst, label)
	}
	if found(dst[start:]) != nothing {
		return dst[:start]
	}
	return dst
}

// isOrdinary reports whether nothing of a host is masked, which one look at it can
// tell of nearly all: no digit, no token's length, and all in lower case.
func isOrdinary(host []byte) bool {
	f := featuresOf(host)
	return f.seen&^(inHost|dot|alnum|begins) == 0 && len(host) < uuidBytes && (f.seen&begins == 0 || !packsEmail(host))
}

// parts of an absolute URL, as they stand in it.
type parts struct {
	scheme, host, port, path, query []byte
	// origin is set where it is the URL's beginning, as is: host is lower case then.
	origin []byte
}

func (u *parts) appendHost(dst []byte) []byte {
	if u.origin != nil {
		return append(dst, u.host...)
	}
	return appendLower(dst, u.host)
}

func (u *parts) web() bool {
	return u.origin != nil || equalFold(u.scheme, "http") || equalFold(u.scheme, "https")
}

func (u *parts) appendOrigin(dst []byte) []byte {
	if u.origin != nil {
		return append(dst, u.origin...)
	}
	dst = appendLower(dst, u.scheme)
	dst = append(dst, "://"...)
	dst = appendLower(dst, u.host)
	standard := equalFold(u.scheme, "http") && string(u.port) == "80" || equalFold(u.scheme, "https") && string(u.port) == "443"
	if len(u.port) > 0 && !standard {
		dst = append(dst, ':')
		dst = append(dst, u.port...)
	}
	return dst
}

// split cuts scheme://[user@]host[:port][/path][?query][#fragment].
func split(raw []byte) (u parts, ok bool) {
	if len(raw) > URLBytesMax || !isGraphic(raw) && (!utf8.Valid(raw) || hasControl(raw)) {
		return parts{}, false
	}
	if u, ok = splitOrdinary(raw); ok {
		return u, true
	}
	return splitAny(raw)
}

// splitAny is split for a text without controls.
func splitAny(raw []byte) (u parts, ok bool) {
	u.scheme, raw, ok = cutAt(raw, ':')
	if !ok || len(u.scheme) == 0 || len(u.scheme) > len("android-app") || !bytes.HasPrefix(raw, []byte("//")) {
		return parts{}, false
	}
	raw, _, _ = cutAt(raw[len("//"):], '#')
	end := 0
	for end < len(raw) && raw[end] != '/' && raw[end] != '?' && raw[end] != '\\' {
		end++
	}
	authority := raw[:end]
	u.path, u.query, _ = cutAt(raw[end:], '?')
	if at := bytes.LastIndexByte(authority, '@'); at >= 0 {
		authority = authority[at+1:]
	}
	u.host, u.port = authority, nil
	if colon := bytes.LastIndexByte(authority, ':'); colon >= 0 && (len(authority) == 0 || authority[len(authority)-1] != ']') {
		u.host, u.port = authority[:colon], authority[colon+1:]
	}
	if !validHost(u.host) || len(u.port) > 5 {
		return parts{}, false
	}
	for _, c := range u.port {
		if !isDigit(c) {
			return parts{}, false
		}
	}
	return u, true
}

// splitOrdinary is split for nearly every URL: of the web, with a name for a host,
// in lower case, and neither user nor port. It says no to the others and to what is
// no URL.
func splitOrdinary(raw []byte) (u parts, ok bool) {
	from := 0
	switch {
	case len(raw) > len(secure) && string(raw[:len(secure)]) == secure:
		from = len(secure)
	case len(raw) > len(insecure) && string(raw[:len(insecure)]) == insecure:
		from = len(insecure)
	}
	last, end := dot, from // a host does not begin with one
	for ; end < len(raw); end++ {
		k := classes[raw[end]]
		if k&inHost == 0 {
			break
		}
		if k&upper != 0 || k&last&dot != 0 {
			return parts{}, false
		}
		last = k
	}
	if from == 0 || end == from || end-from > schemas.HostBytesMax {
		return parts{}, false
	}
	if end < len(raw) && raw[end] != '/' && raw[end] != '?' && raw[end] != '#' {
		return parts{}, false
	}
	u.scheme, u.host, u.origin = raw[:from-len("://")], raw[from:end], raw[:end]
	rest, _, _ := cutAt(raw[end:], '#')
	u.path, u.query, _ = cutAt(rest, '?')
	return u, true
}

const (
	secure   = "https://"
	insecure = "http://"
)

// validHost accepts a DNS name (also with underscores, which some use), an IPv4
// address, or an IPv6 address in brackets.
func validHost(host []byte) bool {
	if len(host) == 0 || len(host) > schemas.HostBytesMax {
		return false
	}
	if host[0] == '[' {
		if len(host) < 4 || host[len(host)-1] != ']' {
			return false
		}
		for _, c := range host[1 : len(host)-1] {
			if !isHex(c) && c != ':' && c != '.' {
				return false
			}
		}
		return true
	}
	for i, c := range host {
		switch {
		case isAlnum(c), c == '-', c == '_':
		case c == '.' && i > 0 && host[i-1] != '.':
		default:
			return false
		}
	}
	return true
}

// isIPHost reports whether the host is a literal address: in brackets, or its
// last label is a number in one of the forms browsers read.
func isIPHost(host []byte) bool {
	if host[0] == '[' {
		return true
	}
	last := bytes.TrimSuffix(host, []byte{'.'})
	last = last[bytes.LastIndexByte(last, '.')+1:]
	if len(last) == 0 {
		return true
	}
	return isDigit(last[0])
}

// isGraphic reports whether all of a text is ASCII without controls and spaces: what
// hasControl says of eight bytes at once, and the highest bit.
func isGraphic(b []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; len(b) >= 8; b = b[8:] {
		eight := binary.LittleEndian.Uint64(b)
		if (eight|(eight-ones*0x21)|((eight^(ones*0x7f))-ones))&highs != 0 {
			return false
		}
	}
	for _, c := range b {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// hasControl looks for controls and spaces, eight bytes at once: a byte without its
// highest bit is one when taking 0x21 from it borrows, and 0x7f when it is equal.
// Borrows reach upwards only from a byte that is one, so the answer is right.
func hasControl(b []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; len(b) >= 8; b = b[8:] {
		eight := binary.LittleEndian.Uint64(b)
		deleted := eight ^ (ones * 0x7f)
		if ((eight-ones*0x21)&^eight|(deleted-ones)&^deleted)&highs != 0 {
			return true
		}
	}
	for _, c := range b {
		if c <= ' ' || c == 0x7f {
			return true
		}
	}
	return false
}

func appendLower(dst, src []byte) []byte {
	for _, c := range src {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
