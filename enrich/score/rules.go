package score

import (
	"strings"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Defaults of what a site leaves unsaid.
const (
	HotScoreDefault          = 50
	HotCooldownDaysDefault   = 7
	ReturnedAfterDaysDefault = 1
)

// Rules is a site's rules, ready for use. It is never changed, and the zero value
// has the defaults and no key page.
type Rules struct {
	pages         []*metivav1.KeyPage
	hotScore      uint32
	cooldownDays  uint32
	returnedAfter uint32
}

// NewRules checks a site's rules (schemas.CheckScoreRules). It keeps the message,
// which must not be changed any more; nil has the defaults.
func NewRules(r *metivav1.ScoreRules) (*Rules, error) {
	if err := schemas.CheckScoreRules(r); err != nil {
		return nil, err //nolint:wrapcheck // says what is wrong with the rules
	}
	return &Rules{
		pages: r.GetKeyPages(), hotScore: r.GetHotScore(), cooldownDays: r.GetHotCooldownDays(), returnedAfter: r.GetReturnedAfterDays(),
	}, nil
}

func (r *Rules) hot() uint32           { return or(r.hotScore, HotScoreDefault) }
func (r *Rules) cooldown() int32       { return int32(or(r.cooldownDays, HotCooldownDaysDefault)) }
func (r *Rules) returnedAfterN() int32 { return int32(or(r.returnedAfter, ReturnedAfterDaysDefault)) }

func or(n, otherwise uint32) uint32 {
	if n == 0 {
		return otherwise
	}
	return n
}

// Match adds to dst the key pages a path is one of, each once.
func (r *Rules) Match(dst []*metivav1.KeyPage, path string) []*metivav1.KeyPage {
next:
	for _, p := range r.pages {
		if !Matches(p.GetPath(), path) {
			continue
		}
		for _, known := range dst {
			if known == p {
				continue next
			}
		}
		dst = append(dst, p)
	}
	return dst
}

// Matches reports whether a page's path is what a rule's path says: the same but
// for one slash at the end, or with a star at the rule's end, whatever begins so.
// Case counts.
func Matches(pattern, path string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(path, prefix)
	}
	return trimmed(pattern) == trimmed(path)
}

// trimmed is a path without one slash at its end.
func trimmed(path string) string {
	if len(path) > 1 {
		return strings.TrimSuffix(path, "/")
	}
	return path
}
