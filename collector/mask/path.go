package mask

import (
	"bytes"
	"unicode/utf8"

	"github.com/metiva-io/metiva/schemas"
)

// decoder holds the memory percent-decoding needs.
type decoder struct{ plain []byte }

// decodeRounds is how often percent-encoding is undone: redirects encode a URL
// inside a URL, seldom deeper.
const decodeRounds = 3

// appendPath appends path with each personal segment replaced, cut at
// schemas.PathBytesMax. An empty path is "/". What follows a semicolon in a segment
// is left out.
func (d *decoder) appendPath(dst, path []byte) []byte {
	start := len(dst)
	path = bytes.TrimPrefix(path, []byte{'/'})
	for i := 0; ; i++ {
		from := i
		var f features
		var last class
		for ; i < len(path); i++ {
			k := classes[path[i]]
			if k&slash != 0 {
				break
			}
			last = f.add(k, last)
		}
		segment := path[from:i]
		if f.seen&semicolon != 0 {
			segment, _, _ = cutAt(segment, ';')
			f = featuresOf(segment)
		}
		dst = append(dst, '/')
		if what := d.lookWith(segment, f); what != nothing {
			dst = append(dst, what...)
		} else {
			dst = append(dst, segment...)
		}
		if i == len(path) {
			return cut(dst, start+schemas.PathBytesMax)
		}
	}
}

// appendCampaign appends a decoded campaign value, or a placeholder, cut at
// schemas.CampaignFieldBytesMax.
func (d *decoder) appendCampaign(dst, value []byte) []byte {
	f := featuresOf(value)
	if what := d.lookWith(value, f); what != nothing {
		return append(dst, what...)
	}
	start := len(dst)
	if f.seen&(unplain|percent|plus) == 0 {
		return cut(append(dst, value...), start+schemas.CampaignFieldBytesMax)
	}
	d.plain = appendUnescaped(d.plain[:0], value, true)
	if !utf8.Valid(d.plain) {
		return dst
	}
	return cut(appendSeen(dst, d.plain), start+schemas.CampaignFieldBytesMax)
}

// appendSeen appends valid UTF-8 without the characters nobody sees.
func appendSeen(dst, text []byte) []byte {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if !isUnseen(r) {
			dst = append(dst, text[:size]...)
		}
		text = text[size:]
	}
	return dst
}

// look says what personal value the text holds, in any layer of its encoding.
// What is encoded deeper than decodeRounds is not kept unseen.
func (d *decoder) look(text []byte) finding { return d.lookWith(text, featuresOf(text)) }

// lookWith is look for a text whose features are known.
func (d *decoder) lookWith(text []byte, f features) finding {
	if f.seen&(unplain|percent) == 0 {
		return findingOf(text, f)
	}
	d.plain = append(d.plain[:0], text...)
	for range decodeRounds + 1 {
		d.plain = fold(d.plain)
		if what := found(d.plain); what != nothing {
			return what
		}
		before := len(d.plain)
		d.plain = appendUnescaped(d.plain[:0], d.plain, false)
		if len(d.plain) == before {
			return nothing
		}
	}
	return value
}

// appendUnescaped appends src without its percent-encoding; a percent sign that
// encodes nothing stays. Dst may be src[:0].
func appendUnescaped(dst, src []byte, plusIsSpace bool) []byte {
	for i := 0; i < len(src); i++ {
		switch {
		case src[i] == '%' && i+2 < len(src) && isHex(src[i+1]) && isHex(src[i+2]):
			dst = append(dst, unhex(src[i+1])<<4|unhex(src[i+2]))
			i += 2
		case src[i] == '+' && plusIsSpace:
			dst = append(dst, ' ')
		default:
			dst = append(dst, src[i])
		}
	}
	return dst
}

// cutAt is bytes.Cut for one byte.
func cutAt(b []byte, at byte) (before, after []byte, found bool) {
	if i := bytes.IndexByte(b, at); i >= 0 {
		return b[:i], b[i+1:], true
	}
	return b, nil, false
}

// cut shortens b to at most n bytes, without splitting a percent-encoding or a
// character.
func cut(b []byte, n int) []byte {
	if len(b) <= n {
		return b
	}
	b = b[:n]
	for i := 1; i <= 2 && i <= len(b); i++ {
		if b[len(b)-i] == '%' {
			b = b[:len(b)-i]
			break
		}
	}
	for len(b) > 0 {
		if r, size := utf8.DecodeLastRune(b); r != utf8.RuneError || size != 1 {
			break
		}
		b = b[:len(b)-1]
	}
	return b
}
