package person

import "bytes"

// Digits of a number of E.164, with the country's code; nothing shorter than a country's
// code and six digits is dialled from abroad.
const (
	phoneDigitsMin = 8
	phoneDigitsMax = 15
)

// Regions whose national numbers are read.
const (
	regionNL = "NL"
	regionBE = "BE"
)

// AppendPhone appends a telephone number as E.164 has it, "+31612345678". A number that
// begins with "+" or "00" is international; another is one of the region, an ISO 3166-1
// code, of which NL and BE are known. ok is false, and dst unchanged, where it is not
// certain which number is meant: better as typed than somebody else's.
func AppendPhone(dst, value []byte, region string) (out []byte, ok bool) {
	n := number{region: region}
	if !n.read(bytes.TrimSpace(value)) {
		return dst, false
	}
	out = append(dst, '+')
	start := len(out)
	if out, ok = n.appendInternational(out); !ok {
		return dst, false
	}
	if digits := len(out) - start; digits < phoneDigitsMin || digits > phoneDigitsMax {
		return dst, false
	}
	return out, true
}

// number is the digits of a number as typed.
type number struct {
	region        string
	digits        [phoneDigitsMax + 4]byte
	n             int
	international bool
}

// read takes digits and what people write between them. The 0 of "+31 (0)6" is dialled
// within the country only, and is left out.
func (p *number) read(value []byte) bool {
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case isDigit(c):
			if p.n == len(p.digits) {
				return false
			}
			p.digits[p.n] = c
			p.n++
			if p.n == 2 && !p.international && p.digits[0] == '0' && c == '0' {
				p.n, p.international = 0, true
			}
		case c == '+' && p.n == 0 && !p.international:
			p.international = true
		case c == '(' && p.international && bytes.HasPrefix(value[i:], []byte("(0)")):
			i += len("(0)") - 1
		case bytes.IndexByte([]byte("-./() "), c) < 0:
			return false
		}
	}
	return p.n > 0
}

func (p *number) appendInternational(dst []byte) ([]byte, bool) {
	digits := p.digits[:p.n]
	switch {
	case !p.international:
		code, ok := nationalCode(digits, p.region)
		return append(append(dst, code...), digits[1:]...), ok
	case digits[0] == '0':
		return dst, false
	}
	if code := trunkCode(digits); len(code) > 0 && len(digits) > len(code) && digits[len(code)] == '0' {
		rest := digits[len(code)+1:]
		if len(rest) == 0 || rest[0] == '0' {
			return dst, false
		}
		return append(append(dst, code...), rest...), true
	}
	return append(dst, digits...), true
}

// nationalCode is the code of the country whose national number this is: ten digits in
// the Netherlands; in Belgium nine, or ten of a mobile telephone.
func nationalCode(digits []byte, region string) (code string, ok bool) {
	if len(digits) < 2 || digits[0] != '0' || digits[1] == '0' {
		return "", false
	}
	switch region {
	case regionNL:
		return "31", len(digits) == 10
	case regionBE:
		return "32", len(digits) == 9 && digits[1] != '4' || len(digits) == 10 && digits[1] == '4'
	}
	return "", false
}

// trunkCode is the code of a country whose numbers never begin with 0 from abroad, if
// the number is of one: the 0 people write behind it is that of national calls.
func trunkCode(digits []byte) []byte {
	for _, code := range [...]string{"31", "32", "33", "41", "43", "44", "46", "49", "353"} {
		if bytes.HasPrefix(digits, []byte(code)) {
			return digits[:len(code)]
		}
	}
	return nil
}
