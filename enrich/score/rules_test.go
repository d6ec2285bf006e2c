package score_test

import (
	"strings"
	"testing"

	"github.com/metiva-io/metiva/enrich/score"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"/pricing", "/pricing", true},
		{"/pricing", "/pricing/", true},
		{"/pricing/", "/pricing", true},
		{"/pricing", "/Pricing", false},
		{"/pricing", "/pricing/eu", false},
		{"/pricing", "/pricing//", false},
		{"/pricing*", "/pricing", true},
		{"/pricing*", "/pricing-eu/a", true},
		{"/pricing/*", "/pricing/eu", true},
		{"/pricing/*", "/pricing", false},
		{"/", "/", true},
		{"/", "/x", false},
		{"/*", "/anything", true},
		{"/a", "", false},
	} {
		if got := score.Matches(c.pattern, c.path); got != c.want {
			t.Errorf("%q matches %q: %t", c.pattern, c.path, got)
		}
	}
}

func TestRulesAreChecked(t *testing.T) {
	t.Parallel()
	page := func(name, path string, weight uint32) *metivav1.ScoreRules {
		return &metivav1.ScoreRules{KeyPages: []*metivav1.KeyPage{{Name: name, Path: path, Weight: weight}}}
	}
	many := &metivav1.ScoreRules{}
	for i := range schemas.KeyPagesMax + 1 {
		many.KeyPages = append(many.KeyPages, &metivav1.KeyPage{Name: strings.Repeat("x", i+1), Path: "/", Weight: 1})
	}
	for name, r := range map[string]*metivav1.ScoreRules{
		"no name":              page("", "/", 1),
		"name with a space":    page(" a", "/", 1),
		"name with a line end": page("a\n", "/", 1),
		"name too long":        page(strings.Repeat("é", schemas.KeyPageNameRunesMax+1), "/", 1),
		"no path":              page("a", "", 1),
		"path without slash":   page("a", "pricing", 1),
		"path with a query":    page("a", "/p?x=1", 1),
		"path with a fragment": page("a", "/p#x", 1),
		"star in the middle":   page("a", "/*/x", 1),
		"two stars":            page("a", "/**", 1),
		"path too long":        page("a", "/"+strings.Repeat("x", schemas.KeyPagePathBytesMax), 1),
		"path with a control":  page("a", "/\x00", 1),
		"no weight":            page("a", "/", 0),
		"weight too high":      page("a", "/", 101),
		"too many":             many,
		"one name twice":       {KeyPages: []*metivav1.KeyPage{{Name: "a", Path: "/a", Weight: 1}, {Name: "a", Path: "/b", Weight: 1}}},
		"hot":                  {HotScore: 101},
		"cool-down":            {HotCooldownDays: 31},
		"returned":             {ReturnedAfterDays: 31},
	} {
		if _, err := score.NewRules(r); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, r := range map[string]*metivav1.ScoreRules{
		"none": nil, "empty": {}, "a page": page("Prijzen & tarieven", "/prijzen/*", 100), "all": page("a", "/*", 1),
		"thresholds": {HotScore: 100, HotCooldownDays: 30, ReturnedAfterDays: 30},
	} {
		if _, err := score.NewRules(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzKeyPage(f *testing.F) {
	f.Add("pricing", "/pricing", uint32(60), "/pricing/")
	f.Add("shop", "/shop/*", uint32(100), "/shop/a?b")
	f.Add("a", "/*", uint32(1), "")
	f.Fuzz(func(t *testing.T, name, pattern string, weight uint32, path string) {
		rules, err := score.NewRules(&metivav1.ScoreRules{KeyPages: []*metivav1.KeyPage{{Name: name, Path: pattern, Weight: weight}}})
		if err != nil {
			return
		}
		matched := len(rules.Match(nil, path)) == 1
		if matched != score.Matches(pattern, path) {
			t.Error("two answers")
		}
		prefix := strings.TrimSuffix(strings.TrimSuffix(pattern, "*"), "/")
		if matched && !strings.HasPrefix(path, prefix) {
			t.Errorf("%q matched %q", pattern, path)
		}
		if !strings.HasSuffix(pattern, "*") && len(rules.Match(nil, pattern)) != 1 {
			t.Errorf("%q does not match itself", pattern)
		}
	})
}
