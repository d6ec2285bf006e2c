package mask

import "bytes"

// finding is what stands in a text; its value is the placeholder for it.
type finding string

const (
	nothing finding = ""
	email   finding = ":email"
	token   finding = ":token"
	number  finding = ":number"
	iban    finding = ":iban"
	value   finding = ":value" // a query inside a path
)

const (
	// numberDigitsMin is the length from which a number is taken for a person's:
	// BSN and phone numbers have nine digits or more, dates eight.
	numberDigitsMin = 9
	gapBytesMax     = 3 // between digits, in what visitors type
	wideGapBytesMax = 5 // and in the rest: "(06) - 12345678"
	bsnShortDigits  = 8 // a BSN written without its leading zero
	hexTokenMin     = 16
	mixedTokenMin   = 20
	letterTokenMin  = 40 // no word is this long
	uuidBytes       = 36 // a UUID in its text form, the shortest token without a digit

	ibanDigitsMin    = 2 // its check digits
	addressDigitsMin = 4 // one for each byte of an IPv4 address
)

// found looks at one decoded path segment, campaign value or host label. Most
// hold nothing: one look at the characters says which kinds can be there at all.
func found(text []byte) finding { return findingOf(text, featuresOf(text)) }

// findingOf is found for a text whose features are known.
func findingOf(text []byte, f features) finding {
	switch {
	case f.seen&at != 0 && hasEmail(text), f.seen&spells != 0 && spellsEmail(text),
		f.seen&begins != 0 && len(text) >= packedMin && packsEmail(text):
		return email
	case f.seen&equals != 0 && hasQuery(text):
		return value
	case f.digits >= ibanDigitsMin && len(text) >= ibanBytesMin && hasIBAN(text):
		return iban
	case len(text) >= hexTokenMin && (f.digits > 0 || len(text) >= uuidBytes) && hasToken(text):
		return token
	case f.digits >= bsnShortDigits && hasNumber(text), (f.digits >= addressDigitsMin || f.seen&colon != 0) && hasAddress(text):
		return number
	}
	return nothing
}

// mailGapBytesMax is how far a mailbox and its domain may stand from the at
// sign: people write "jan @ mail.nl", "(jan)@mail.nl" and "jan@@mail.nl".
const mailGapBytesMax = 3

// hasEmail looks for an at sign with a word close by on both sides. The domain
// need not have a dot. A handle ("@name") has nothing before its sign.
func hasEmail(text []byte) bool {
	for i, c := range text {
		if c == '@' && wordWithin(text[max(0, i-mailGapBytesMax-1):i]) && wordWithin(text[i+1:min(len(text), i+2+mailGapBytesMax)]) {
			return true
		}
	}
	return false
}

func wordWithin(text []byte) bool {
	for _, c := range text {
		if isWordByte(c) {
			return true
		}
	}
	return false
}

// hasQuery finds names with values: a whole query encoded into a path. One
// trailing equals sign is base64 padding, which is no name.
func hasQuery(text []byte) bool {
	i := bytes.IndexByte(text, '=')
	return i > 0 && i+1 < len(text) && text[i+1] != '='
}

// hasNumber finds numberDigitsMin digits in a row, with up to gapBytesMax
// separators between two of them, and eight digits that pass the BSN check and
// are no date.
func hasNumber(text []byte) bool {
	digits, start, gap := 0, 0, 0
	for i := 0; i <= len(text); i++ {
		switch {
		case i < len(text) && isDigit(text[i]):
			if digits == 0 {
				start = i
			}
			gap = 0
			digits++
			if digits >= numberDigitsMin {
				return true
			}
		case i < len(text) && digits > 0 && gap < wideGapBytesMax && isWideGap(text[i]):
			gap++
		default:
			if digits == bsnShortDigits && isShortBSN(text[start:i]) {
				return true
			}
			digits, gap = 0, 0
		}
	}
	return false
}

// isGap accepts what people write inside a telephone number: "020 - 123 45 67",
// "(020) 123 4567", "06/12345678", "123,456,782".
func isGap(c byte) bool { return isSeparator(c) || c == '(' || c == ')' || c == '/' || c == ',' }

// isWideGap accepts every other sign too, but for the one that encodes.
func isWideGap(c byte) bool { return c >= ' ' && c < 0x7f && c != '%' && !isAlnum(c) }

// isShortBSN applies the elfproef (weights 8 to 2 and -1, here without the
// leading 9) to eight digits. A date of our time is left alone: one in eleven
// passes.
func isShortBSN(text []byte) bool {
	var d [bsnShortDigits]int
	n := 0
	for _, c := range text {
		if isDigit(c) {
			d[n] = int(c - '0')
			n++
		}
	}
	year, month, day := d[0]*1000+d[1]*100+d[2]*10+d[3], d[4]*10+d[5], d[6]*10+d[7]
	if year >= 1990 && year < 2100 && month >= 1 && month <= 12 && day >= 1 && day <= 31 {
		return false
	}
	sum := -d[7]
	for i, weight := range [...]int{8, 7, 6, 5, 4, 3, 2} {
		sum += weight * d[i]
	}
	return sum%11 == 0
}

// hasAddress finds four short numbers with dots between them, or hexadecimal
// with two colons: the forms of IPv4 and IPv6.
func hasAddress(text []byte) bool {
	digits, groups, colons := 0, 0, 0
	for i := range len(text) {
		c := text[i]
		switch {
		case isDigit(c):
			digits++
			if digits == 1 {
				groups++
			}
			if groups == 4 && digits <= 3 {
				return true
			}
		case c == '.' && digits > 0 && digits <= 3:
			digits = 0
		default:
			digits, groups = 0, 0
		}
		switch {
		case c == ':':
			if colons++; colons == 2 {
				return true
			}
		case !isHex(c):
			colons = 0
		}
	}
	return false
}

// ibanBytesMin and ibanBytesMax are the shortest (Norway) and longest IBAN.
const (
	ibanBytesMin = 15
	ibanBytesMax = 34
)

// hasIBAN finds a country, two check digits and an account whose checksum holds
// (ISO 13616, modulo 97), with spaces, dots or dashes anywhere.
func hasIBAN(text []byte) bool {
	for i := 0; i+ibanBytesMin <= len(text); i++ {
		if isLetter(text[i]) && isLetter(text[i+1]) && isDigit(text[i+2]) && isDigit(text[i+3]) &&
			(i == 0 || !isAlnum(text[i-1])) && isIBAN(text[i:]) {
			return true
		}
	}
	return false
}

// isIBAN tries every length: what follows the account may touch it.
func isIBAN(text []byte) bool {
	var memory [4]byte
	head, n, account := memory[:0], 0, 0
	for _, c := range text {
		if isSeparator(c) {
			continue
		}
		if !isAlnum(c) || n == ibanBytesMax {
			break
		}
		n++
		if n <= len(memory) {
			head = append(head, c)
		} else {
			account = mod97(account, c)
		}
		if n < ibanBytesMin {
			continue
		}
		sum := account // and then what stands before it
		for _, c := range head {
			sum = mod97(sum, c)
		}
		if sum == 1 {
			return true
		}
	}
	return false
}

// mod97 is the remainder with one more character behind the number.
func mod97(remainder int, c byte) int {
	if isDigit(c) {
		return (remainder*10 + int(c-'0')) % 97
	}
	return (remainder*100 + int(c|0x20-'a') + 10) % 97
}

// hasToken finds what a machine made: UUIDs, long hexadecimal, JSON web tokens,
// and long runs of letters and digits mixed.
func hasToken(text []byte) bool {
	if hasUUID(text) {
		return true
	}
	for start := 0; start < len(text); {
		if !isTokenByte(text[start]) {
			start++
			continue
		}
		end := start
		for end < len(text) && isTokenByte(text[end]) {
			end++
		}
		if isToken(text[start:end]) {
			return true
		}
		start = end
	}
	return false
}

// isToken judges a run of letters, digits, dashes and underscores.
func isToken(run []byte) bool {
	letters, digits, changes := 0, 0, 0
	upper, lower, hexOnly := false, false, true
	wordLen, wordDigits, wordLetters, longest := 0, 0, 0, 0
	var last byte
	for _, c := range run {
		if c == '-' || c == '_' {
			wordLen, wordDigits, wordLetters, last = 0, 0, 0, 0
			continue
		}
		wordLen++
		class := byte('a')
		switch {
		case isDigit(c):
			class, digits, wordDigits = '0', digits+1, wordDigits+1
		case c >= 'A' && c <= 'Z':
			upper, letters, wordLetters = true, letters+1, wordLetters+1
		default:
			lower, letters, wordLetters = true, letters+1, wordLetters+1
		}
		hexOnly = hexOnly && isHex(c)
		if last != 0 && class != last {
			changes++
		}
		last = class
		longest = max(longest, wordLen)
		// One word of letters and digits, as long as no product name is.
		if wordLen >= mixedTokenMin && wordDigits > 1 && wordLetters > 1 {
			return true
		}
	}
	return longest >= letterTokenMin ||
		hexOnly && letters > 0 && digits > 0 && longest >= hexTokenMin ||
		// base64url may hold dashes; a title changes between letters and digits
		// once or twice.
		len(run) >= mixedTokenMin && upper && lower && changes >= 4
}

// hasUUID looks for a UUID at the start of any word: "form-8f14e45f-…".
func hasUUID(text []byte) bool {
	for i := 0; i+uuidBytes <= len(text); i++ {
		if (i == 0 || !isAlnum(text[i-1])) && isUUID(text[i:]) {
			return true
		}
	}
	return false
}

// isUUID finds 8-4-4-4-12 hexadecimal digits at the start of a text.
func isUUID(run []byte) bool {
	if len(run) < uuidBytes {
		return false
	}
	for i, c := range run[:uuidBytes] {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != isSeparator(c) || !dash && !isHex(c) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isAlnum(c byte) bool  { return isDigit(c) || isLetter(c) }
func isHex(c byte) bool    { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

// isWordByte accepts letters, digits and everything beyond ASCII.
func isWordByte(c byte) bool {
	return isAlnum(c) || c >= 0x80 || c == '_' || c == '-' || c == '+' || c == '"'
}

func isTokenByte(c byte) bool { return isAlnum(c) || c == '-' || c == '_' }
func isSeparator(c byte) bool { return c == '-' || c == '.' || c == ' ' || c == '_' || c == '+' }

func unhex(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
