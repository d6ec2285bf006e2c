package orgname

import (
	"strings"
	"unicode"

	"golang.org/x/net/publicsuffix"
)

// keyBytesMax bounds a key; it is part of account ids.
const keyBytesMax = 80

// Registrable is the registrable domain of a domain ("www.example.co.uk" is
// "example.co.uk"), in lower case, or empty when it has none: an address, a
// public suffix such as "com", or text that is not a domain.
func Registrable(domain string) string {
	domain = strings.ToLower(strings.Trim(strings.TrimSpace(domain), "."))
	if len(domain) > 253 || !strings.Contains(domain, ".") {
		return ""
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || !isLabel(label) {
			return ""
		}
	}
	if last := domain[strings.LastIndexByte(domain, '.')+1:]; last[0] >= '0' && last[0] <= '9' {
		return "" // an IPv4 address
	}
	out, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		return ""
	}
	return out
}

func isLabel(label string) bool {
	for i := range len(label) {
		c := label[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// Key is the same for the spellings of one name: lower case ASCII letters and
// digits, words joined by "-", without legal forms ("ING Bank N.V." is
// "ing-bank"). It is empty for a name without a letter of the Latin alphabet.
func Key(name string) string {
	words := words(name)
	if kept := withoutForms(words); len(kept) > 0 {
		words = kept
	}
	key := strings.Join(words, "-")
	if len(key) > keyBytesMax {
		key = strings.TrimRight(key[:keyBytesMax], "-")
	}
	return key
}

// Same reports whether two names are one organisation's, by their keys.
func Same(a, b string) bool {
	key := Key(a)
	return key != "" && key == Key(b)
}

// OwnDomain reports whether the domain is surely that of an organisation of the
// name: its first label, with or without the suffix, is made of words of the name
// that follow one another ("jansen.nl" and "bakkerij-jansen.nl" of "Bakkerij Jansen
// B.V.", "booking.com" of "Booking.com B.V."), or of the initials of three words or
// more ("vub.be"). What reverse DNS says of a network is often its provider's.
func OwnDomain(name, domain string) bool {
	domain = Registrable(domain)
	label, suffix, ok := strings.Cut(domain, ".")
	if !ok {
		return false
	}
	label = strings.ReplaceAll(label, "-", "")
	all := words(name)
	for i := range all {
		var joined string
		for _, word := range all[i:] {
			joined += word
			if joined == label || joined == label+strings.ReplaceAll(suffix, ".", "") {
				return true
			}
		}
	}
	var initials []byte
	for _, word := range withoutForms(all) {
		initials = append(initials, word[0])
	}
	return len(initials) > 2 && string(initials) == label
}

// words are the words of a name in lower case ASCII. Dots within a word are
// dropped, so that "N.V." is "nv".
func words(name string) []string {
	var out []string
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			out = append(out, word.String())
			word.Reset()
		}
	}
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			word.WriteRune(r)
		case r == '.' || r == '\'':
		case folded(r) != "":
			word.WriteString(folded(r))
		case unicode.IsMark(r): // an accent of its own behind its letter
		default:
			end()
		}
	}
	end()
	return out
}

// folded is a letter of the Latin alphabet without its accent.
func folded(r rune) string {
	switch r {
	case 'à', 'á', 'â', 'ã', 'ä', 'å':
		return "a"
	case 'ç', 'č', 'ć':
		return "c"
	case 'è', 'é', 'ê', 'ë':
		return "e"
	case 'ì', 'í', 'î', 'ï':
		return "i"
	case 'ñ', 'ń':
		return "n"
	case 'ò', 'ó', 'ô', 'õ', 'ö', 'ø':
		return "o"
	case 'ù', 'ú', 'û', 'ü':
		return "u"
	case 'ý', 'ÿ':
		return "y"
	case 'š', 'ś':
		return "s"
	case 'ž', 'ź', 'ż':
		return "z"
	case 'ß':
		return "ss"
	case 'æ':
		return "ae"
	case 'œ':
		return "oe"
	case 'ł':
		return "l"
	}
	return ""
}

// withoutForms leaves legal forms out, wherever they stand.
func withoutForms(words []string) []string {
	out := make([]string, 0, len(words))
	for _, word := range words {
		switch word {
		case "bv", "nv", "vof", "cv", "ua", "bvba", "sprl", "srl", "sa", "sas", "sarl", "scrl", "asbl", "vzw", "gmbh", "ag",
			"kg", "kgaa", "ohg", "ug", "ev", "se", "mbh", "ltd", "limited", "llc", "inc", "corp", "corporation", "plc", "lp",
			"llp", "ab", "as", "asa", "oy", "oyj", "aps", "spa", "sl", "slu", "sro", "doo", "co", "company", "the":
			continue
		}
		out = append(out, word)
	}
	return out
}
