package collector

import (
	"strings"

	"github.com/metiva-io/metiva/collector/mask"
	"github.com/metiva-io/metiva/consent"
)

// maskedText stands in a consent record for what the page said and is not kept.
const maskedText = "masked"

// unlessPersonal is a text of the page, or the other text when something personal
// can be read in it: a consent record is proof, and nobody takes anything out of it.
func unlessPersonal(text, other string) string {
	var t mask.Text
	if t.Holds([]byte(text)) {
		return other
	}
	return text
}

// rawSignal is the claim's raw signal. A TC string is kept as it stands: it was
// decoded, so it holds what a TC string can. Between a platform's categories stand
// signs that separate them and join no number.
func rawSignal(basis consent.Basis) string {
	if basis.Source == sourceTCF {
		return basis.RawSignal
	}
	parts := strings.Map(func(c rune) rune {
		if c == ',' || c == ';' || c == '=' {
			return '|'
		}
		return c
	}, basis.RawSignal)
	if unlessPersonal(parts, maskedText) == maskedText {
		return maskedText
	}
	return basis.RawSignal
}

// sourceTCF is consent.Basis.Source of a TC string.
const sourceTCF = "tcf"

// shownVersion is the version of the text the visitor saw, as far as it is kept: one
// the site registered, one made of a TC string or held by a token, and any other
// of its form in which nothing personal can be read. A refusal counts without one.
func (r *request) shownVersion(basis consent.Basis) string {
	version := basis.TextVersion
	switch _, registered := r.site.text(version); {
	case !consent.IsTextVersion(version):
		return ""
	case registered, basis.Source == sourceTCF, basis.Source == "":
		return version
	}
	return unlessPersonal(version, "")
}
