package person

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/metiva-io/metiva/schemas"
)

// lineBytesMax is the longest name of a person or company, in bytes.
const lineBytesMax = 256

// AppendLine appends a name of a person or a company: Unicode NFC, one space where white
// space stood, none around it, without control characters and characters nobody sees. Letter
// case stays: people know how their name is written. Temp is memory of the caller's. cut
// reports that the name was longer than 256 bytes and ends there.
func AppendLine(dst, value, temp []byte) (out []byte, cut bool) {
	temp = temp[:0]
	space := false
	for len(value) > 0 {
		r, size := utf8.DecodeRune(value)
		switch {
		case unicode.IsSpace(r):
			space = len(temp) > 0
		case !isSeen(r, size):
		default:
			if space {
				temp = append(temp, ' ')
			}
			temp, space = append(temp, value[:size]...), false
		}
		value = value[size:]
	}
	return appendNFC(dst, temp, lineBytesMax)
}

// AppendText appends a text of several lines: Unicode NFC, lines ended by a line feed, no
// white space around it, without control characters and characters nobody sees. Temp and
// cut are as in AppendLine; the limit is that of a form's field.
func AppendText(dst, value, temp []byte) (out []byte, cut bool) {
	temp = temp[:0]
	for len(value) > 0 {
		r, size := utf8.DecodeRune(value)
		switch {
		case r == '\r':
			if !bytes.HasPrefix(value, []byte("\r\n")) {
				temp = append(temp, '\n')
			}
		case r == '\n', r == '\t', isSeen(r, size):
			temp = append(temp, value[:size]...)
		}
		value = value[size:]
	}
	return appendNFC(dst, bytes.TrimSpace(temp), schemas.FormFieldBytesMax)
}

// isSeen reports whether a character may stand in a value: no control character, no byte
// that is not UTF-8, and of those without a width only the two that join letters.
func isSeen(r rune, size int) bool {
	switch {
	case r == utf8.RuneError && size == 1, unicode.IsControl(r):
		return false
	case r == '\u200c', r == '\u200d':
		return true
	}
	return !unicode.Is(unicode.Cf, r)
}

// appendNFC appends what fits of a text, ending at a whole character.
func appendNFC(dst, text []byte, bytesMax int) (out []byte, cut bool) {
	start := len(dst)
	out = norm.NFC.Append(dst, text...)
	kept := out[start:]
	if len(kept) <= bytesMax {
		return out, false
	}
	end := bytesMax
	for end > 0 && !utf8.RuneStart(kept[end]) {
		end--
	}
	// A letter keeps the marks that belong to it, or goes with them.
	if !norm.NFC.Properties(kept[end:]).BoundaryBefore() {
		if whole := norm.NFC.LastBoundary(kept[:end]); whole > 0 {
			end = whole
		}
	}
	return out[:start+len(bytes.TrimRightFunc(kept[:end], unicode.IsSpace))], true
}
