package mask

// Typed looks at what visitors type into forms. It is the memory that takes, and
// may be reused; Forget clears it.
type Typed struct{ d decoder }

// Forget clears the last text.
func (t *Typed) Forget() { clear(t.d.plain[:cap(t.d.plain)]) }

// Withheld reports whether a text holds what no form capture keeps: an IBAN, a
// card number (13 to 19 digits that pass the check of ISO/IEC 7812-1), a BSN, or
// a token; also percent-encoded, or in the digits of another script. Telephone
// numbers and e-mail addresses are what forms are for and stay. One in eleven
// other numbers of eight or nine digits reads as a BSN and is withheld too. A
// password made of words cannot be told from any other word.
func (t *Typed) Withheld(text []byte) bool { return t.look(text, true) }

// WithheldNumber is Withheld for a telephone number, where a token has no place.
func (t *Typed) WithheldNumber(text []byte) bool { return t.look(text, false) }

func (t *Typed) look(text []byte, tokens bool) bool {
	t.d.plain = t.d.plain[:0]
	for _, c := range text {
		if c == '\n' || c == '\r' || c == '\t' {
			c = ' ' // fold would join the lines
		}
		t.d.plain = append(t.d.plain, c)
	}
	for range decodeRounds + 1 {
		t.d.plain = fold(t.d.plain)
		if hasIBAN(t.d.plain) || hasDutchIBAN(t.d.plain) || hasCardOrBSN(t.d.plain) || tokens && hasToken(t.d.plain) {
			return true
		}
		before := len(t.d.plain)
		t.d.plain = appendUnescaped(t.d.plain[:0], t.d.plain, false)
		if len(t.d.plain) == before {
			return false
		}
	}
	return true // encoded deeper than anybody types
}

// hasDutchIBAN finds NL, two digits, four letters and ten digits whose checksum
// holds, with up to gapBytesMax separators anywhere: "NL 91 ABNA 0417 1643 00". Of
// the other countries hasIBAN knows no form, and finds those that begin without a
// gap.
func hasDutchIBAN(text []byte) bool {
	const form = "AA00AAAA0000000000"
	for start := range text {
		if text[start]|0x20 != 'n' {
			continue
		}
		var compact [len(form)]byte
		n, gap := 0, 0
		for i := start; i < len(text) && n < len(form) && gap <= gapBytesMax; i++ {
			switch c := text[i]; {
			case form[n] == 'A' && isLetter(c), form[n] == '0' && isDigit(c):
				compact[n] = c
				n++
				gap = 0
				continue
			case isGap(c):
				gap++
				continue
			}
			break
		}
		if n < len(form) || compact[1]|0x20 != 'l' {
			continue
		}
		sum := 0
		for i := range compact {
			sum = mod97(sum, compact[(i+4)%len(compact)]) // the first four count last
		}
		if sum == 1 {
			return true
		}
	}
	return false
}

const (
	runDigitsMax  = 64
	runGroupsMax  = 32
	cardDigitsMin = 13
	cardDigitsMax = 19
	bsnDigits     = 9
	// phoneDigitsMax is "00" and the 15 digits of E.164.
	phoneDigitsMax = 17
)

// hasCardOrBSN looks at each run of digits.
func hasCardOrBSN(text []byte) bool {
	for i := 0; i < len(text); {
		if !isDigit(text[i]) {
			i++
			continue
		}
		run := digitRun{plus: i > 0 && text[i-1] == '+'}
		i = run.read(text, i)
		if run.withheld() {
			return true
		}
	}
	return false
}

// digitRun is digits in groups, with up to gapBytesMax separators between two
// groups: "06 - 1234 5678".
type digitRun struct {
	digits [runDigitsMax]byte
	ends   [runGroupsMax]int // of each group, in digits
	n      int
	groups int
	plus   bool // "+" stands before it
	over   bool // it is longer than this memory, and than anything people write
}

// read takes the run that begins at i and returns where it ends.
func (r *digitRun) read(text []byte, i int) int {
	for {
		for ; i < len(text) && isDigit(text[i]); i++ {
			if r.over = r.over || r.n == runDigitsMax; !r.over {
				r.digits[r.n] = text[i] - '0'
				r.n++
			}
		}
		if r.over = r.over || r.groups == runGroupsMax; !r.over {
			r.ends[r.groups] = r.n
			r.groups++
		}
		next := i
		for next < len(text) && next-i < gapBytesMax && isGap(text[next]) {
			next++
		}
		if next == i || next == len(text) || !isDigit(text[next]) {
			return i
		}
		i = next
	}
}

// withheld looks at the run, and at each part of it that begins and ends with a
// group.
func (r *digitRun) withheld() bool {
	if r.over {
		return true
	}
	phone, begin := r.isPhone(), 0
	for first := range r.groups {
		for last := first; last < r.groups; last++ {
			part := r.digits[begin:r.ends[last]]
			switch n := len(part); {
			case n > cardDigitsMax && first == last:
				return true // no number people write is this long
			case n >= cardDigitsMin && n <= cardDigitsMax && isCard(part):
				return true
			case n == bsnDigits && !phone && isBSN(part):
				return true
			case n == bsnShortDigits && n == r.n && !phone && !isDate(part) && isBSN(part):
				return true
			}
		}
		begin = r.ends[first]
	}
	return false
}

// isPhone accepts an international number, and a Dutch one with its zero.
func (r *digitRun) isPhone() bool {
	if r.n > phoneDigitsMax || r.n < 2 {
		return false
	}
	return r.plus || r.digits[0] == 0 && (r.n == 10 || r.digits[1] == 0 && r.n > bsnDigits)
}

// isCard applies Luhn's check. No card begins with a zero; digits of another
// script are all zeros here.
func isCard(digits []byte) bool {
	sum, zeros := 0, true
	for i := range digits {
		d := int(digits[len(digits)-1-i])
		zeros = zeros && d == 0
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return zeros || sum%10 == 0 && digits[0] != 0
}

// isBSN applies the elfproef to nine digits, or to eight without the zero before
// them: weights 9 to 2, and -1.
func isBSN(digits []byte) bool {
	sum := -int(digits[len(digits)-1])
	for i := range len(digits) - 1 {
		sum += (len(digits) - i) * int(digits[i])
	}
	return sum%11 == 0
}

// isDate reads eight digits as a date of our time, year first or last.
func isDate(d []byte) bool {
	two := func(i int) int { return int(d[i])*10 + int(d[i+1]) }
	plausible := func(year, month, day int) bool {
		return year >= 1900 && year < 2100 && month >= 1 && month <= 12 && day >= 1 && day <= 31
	}
	return plausible(two(0)*100+two(2), two(4), two(6)) || plausible(two(4)*100+two(6), two(2), two(0))
}
