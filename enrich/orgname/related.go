package orgname

import "strings"

// Related reports whether two keys (Key) may be names of one organisation: a word
// that is not everybody's stands in both, also as a part of a longer one ("exxon" in
// "exxonmobil"), or one begins with the other, of two words or more
// ("deutsche-bank"). It does not allocate.
func Related(a, b string) bool {
	return begins(a, b) || begins(b, a) || hasWordOf(a, b) || hasWordOf(b, a)
}

// begins reports whether the words of b are the first of a.
func begins(a, b string) bool {
	return strings.Contains(b, "-") && strings.HasPrefix(a, b) && (len(a) == len(b) || a[len(b)] == '-')
}

// hasWordOf reports whether a word of b stands in a.
func hasWordOf(a, b string) bool {
	for b != "" {
		word, rest, _ := strings.Cut(b, "-")
		b = rest
		if isCommon(word) {
			continue
		}
		if len(word) > 2 && strings.Contains(a, word) || hasWord(a, word) {
			return true
		}
	}
	return false
}

func hasWord(key, word string) bool {
	for key != "" {
		each, rest, _ := strings.Cut(key, "-")
		if each == word {
			return true
		}
		key = rest
	}
	return false
}

// isCommon knows words that names of unrelated organisations share.
func isCommon(word string) bool {
	switch word {
	case "bank", "group", "groep", "gruppe", "holding", "international", "global", "europe", "europa", "european", "netherlands", "nederland",
		"belgium", "belgie", "germany", "deutschland", "deutsche", "digital", "services", "service", "solutions", "systems", "technologies",
		"technology", "information", "it", "media", "network", "networks", "internet", "telecom", "communications", "hosting", "cloud", "data",
		"stichting", "gemeente", "provincie", "ministerie", "ministry", "department", "bundesministerium", "stadt", "universiteit", "university",
		"universitat", "universitaet", "institut", "institute", "of", "de", "der", "die", "das", "den", "van", "von", "voor", "for", "fur", "fuer",
		"and", "und", "en", "et", "la", "le", "du", "the", "to", "in", "is", "verwaltungs", "management", "medical", "financial", "insurance":
		return true
	}
	return false
}
