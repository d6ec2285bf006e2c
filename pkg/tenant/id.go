package tenant

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

// Prefixes of ids (glossary).
const (
	PrefixCompany = "cmp_"
	PrefixAgency  = "agy_"
	PrefixBrand   = "brd_"
	PrefixSite    = "sit_"
	PrefixUser    = "usr_"
	PrefixSiteKey = "pk_"
	PrefixErasure = "era_"
)

const (
	// crockford is Crockford's base32 in lower case: no i, l, o, u.
	crockford = "0123456789abcdefghjkmnpqrstvwxyz"
	// idSymbols is 100 random bits, siteKeySymbols 120.
	idSymbols      = 20
	siteKeySymbols = 24
)

// NewID is a new random id with the prefix: 20 symbols after it, 24 for a site
// key.
func NewID(prefix string) string {
	var raw [15]byte         // 24 symbols; 20 of them are 100 bits
	_, _ = rand.Read(raw[:]) // never fails (crypto/rand)
	text := base32.NewEncoding(crockford).WithPadding(base32.NoPadding).EncodeToString(raw[:])
	return prefix + text[:symbols(prefix)]
}

// ValidID reports whether id is the prefix and the right number of symbols.
func ValidID(prefix, id string) bool {
	rest, ok := strings.CutPrefix(id, prefix)
	if !ok || len(rest) != symbols(prefix) {
		return false
	}
	for i := range len(rest) {
		if strings.IndexByte(crockford, rest[i]) < 0 {
			return false
		}
	}
	return true
}

func symbols(prefix string) int {
	if prefix == PrefixSiteKey {
		return siteKeySymbols
	}
	return idSymbols
}
