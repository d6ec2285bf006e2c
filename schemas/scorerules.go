package schemas

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Limits of a site's ScoreRules. The registry and the database hold them; a record
// that is beyond them is not read.
const (
	KeyPagesMax          = 50
	KeyPageNameRunesMax  = 60
	KeyPagePathBytesMax  = 300
	KeyPageWeightMax     = 100
	HotScoreMax          = 100
	HotCooldownDaysMax   = 30
	ReturnedAfterDaysMax = 30
)

// CheckScoreRules reports every fault of a site's rules. Zero thresholds mean the
// defaults.
func CheckScoreRules(r *metivav1.ScoreRules) error {
	var faults []error
	if len(r.GetKeyPages()) > KeyPagesMax {
		faults = append(faults, fmt.Errorf("a site has at most %d key pages", KeyPagesMax))
	}
	names := make(map[string]bool, len(r.GetKeyPages()))
	for i, p := range r.GetKeyPages() {
		if err := checkKeyPage(p); err != nil {
			faults = append(faults, fmt.Errorf("key page %d: %w", i+1, err))
		} else if names[p.GetName()] {
			faults = append(faults, fmt.Errorf("key page %d: the name is taken", i+1))
		}
		names[p.GetName()] = true
	}
	if r.GetHotScore() > HotScoreMax {
		faults = append(faults, fmt.Errorf("an account is hot from a score of 1 to %d, or 0 for the default", HotScoreMax))
	}
	if r.GetHotCooldownDays() > HotCooldownDaysMax {
		faults = append(faults, fmt.Errorf("the cool-down is 1 to %d days, or 0 for the default", HotCooldownDaysMax))
	}
	if r.GetReturnedAfterDays() > ReturnedAfterDaysMax {
		faults = append(faults, fmt.Errorf("an account has returned after 1 to %d days, or 0 for the default", ReturnedAfterDaysMax))
	}
	return errors.Join(faults...)
}

func checkKeyPage(p *metivav1.KeyPage) error {
	name, path := p.GetName(), p.GetPath()
	prints := func(s string) bool {
		return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
	}
	switch {
	case name == "" || strings.TrimSpace(name) != name || utf8.RuneCountInString(name) > KeyPageNameRunesMax || !prints(name):
		return fmt.Errorf("the name is not 1 to %d characters that print", KeyPageNameRunesMax)
	case !strings.HasPrefix(path, "/") || len(path) > KeyPagePathBytesMax || !prints(path):
		return fmt.Errorf("the path does not begin with a slash, or is longer than %d bytes", KeyPagePathBytesMax)
	case strings.ContainsAny(path, "?#"):
		return errors.New("the path has a query or a fragment, which no page keeps")
	case strings.Contains(path[:len(path)-1], "*"):
		return errors.New("a star stands elsewhere than at the end of the path")
	case p.GetWeight() < 1 || p.GetWeight() > KeyPageWeightMax:
		return fmt.Errorf("the weight is not 1 to %d", KeyPageWeightMax)
	}
	return nil
}
