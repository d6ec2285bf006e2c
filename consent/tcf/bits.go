package tcf

// bitsPerChar is what a character of base64url carries.
const bitsPerChar = 6

// sextet is the value of a base64url character (RFC 4648, section 5).
func sextet(c byte) (value byte, ok bool) {
	switch {
	case c >= 'A' && c <= 'Z':
		return c - 'A', true
	case c >= 'a' && c <= 'z':
		return c - 'a' + 26, true
	case c >= '0' && c <= '9':
		return c - '0' + 52, true
	case c == '-':
		return 62, true
	case c == '_':
		return 63, true
	}
	return 0, false
}

// bitsAt reads count bits, at most 36, big-endian. The caller has checked that
// they are there and that the text is base64url.
func bitsAt(text string, bit, count int) uint64 {
	var value uint64
	for count > 0 {
		c, _ := sextet(text[bit/bitsPerChar])
		left := bitsPerChar - bit%bitsPerChar
		n := min(left, count)
		value = value<<n | uint64(c)>>(left-n)&(1<<n-1)
		bit += n
		count -= n
	}
	return value
}

// reader takes fields one after another. After the first fault it keeps
// answering 0 and remembers that fault.
type reader struct {
	text string
	bit  int
	err  error
}

func (r *reader) take(count int) uint64 {
	if r.err != nil {
		return 0
	}
	if count > len(r.text)*bitsPerChar-r.bit {
		r.err = ErrTruncated
		return 0
	}
	value := bitsAt(r.text, r.bit, count)
	r.bit += count
	return value
}

func (r *reader) flag() bool { return r.take(1) == 1 }

// letters reads two letters of six bits each, a=0.
func (r *reader) letters() [2]byte {
	a, b := r.take(6), r.take(6)
	if r.err == nil && (a > 25 || b > 25) {
		r.err = ErrLetters
	}
	if r.err != nil {
		return [2]byte{}
	}
	return [2]byte{'A' + byte(a), 'A' + byte(b)}
}

// span reads one entry of a range section: a vendor id or a range of them.
func (r *reader) span() (first, last VendorID) {
	ranged := r.flag()
	first = VendorID(r.take(16))
	last = first
	if ranged {
		last = VendorID(r.take(16))
	}
	if r.err == nil && (first == 0 || first > last || last > VendorIDMax) {
		r.err = ErrVendorID
	}
	return first, last
}

// vendorSet is a set of vendor ids as it stands in the text.
type vendorSet struct {
	text   string
	bit    int // of the bit field or of the first entry
	last   VendorID
	ranged bool
	spans  int
}

// vendors walks over a vendor section and checks it.
func (r *reader) vendors() vendorSet {
	set := vendorSet{text: r.text, last: VendorID(r.take(16)), ranged: r.flag()}
	if r.err == nil && set.last > VendorIDMax {
		r.err = ErrVendorID
	}
	if !set.ranged {
		set.bit = r.bit
		if r.err == nil && int(set.last) > len(r.text)*bitsPerChar-r.bit {
			r.err = ErrTruncated
		}
		r.bit += int(set.last)
		return set
	}
	set.spans = int(r.take(12))
	set.bit = r.bit
	for i := 0; i < set.spans && r.err == nil; i++ {
		if _, last := r.span(); r.err == nil && last > set.last {
			r.err = ErrVendorID
		}
	}
	return set
}

func (s vendorSet) has(id VendorID) bool {
	if id == 0 || id > s.last {
		return false
	}
	if !s.ranged {
		return bitsAt(s.text, s.bit+int(id)-1, 1) == 1
	}
	r := reader{text: s.text, bit: s.bit}
	return r.spansHave(s.spans, id)
}

// spansHave reads count entries, all of them, and reports whether one holds id.
func (r *reader) spansHave(count int, id VendorID) bool {
	found := false
	for i := 0; i < count && r.err == nil; i++ {
		first, last := r.span()
		found = found || r.err == nil && first <= id && id <= last
	}
	return found
}
