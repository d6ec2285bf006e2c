package registry_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/schemas"
)

// TestScoreRules: rules are kept, published with the site and changed one by one.
func TestScoreRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, site := w.tenantWithSite("Alpha")
	published := func() string {
		t.Helper()
		w.flush(w.publisher())
		r := w.topics.site(t, site.ID).GetScoreRules()
		if r == nil {
			return "none"
		}
		var out strings.Builder
		fmt.Fprintf(&out, "hot %d/%d returned %d", r.GetHotScore(), r.GetHotCooldownDays(), r.GetReturnedAfterDays())
		for _, p := range r.GetKeyPages() {
			fmt.Fprintf(&out, " %s=%s:%d", p.GetName(), p.GetPath(), p.GetWeight())
		}
		return out.String()
	}
	if got := published(); got != "none" {
		t.Errorf("a new site has the rules %s", got)
	}
	pricing, demo := registry.KeyPage{Name: "pricing", Path: "/pricing", Weight: 60}, registry.KeyPage{Name: "demo", Path: "/demo*", Weight: 40}
	version := site.Version
	for _, step := range []struct {
		change registry.ScoreChange
		want   string
	}{
		{registry.ScoreChange{KeyPages: []registry.KeyPage{pricing, demo}}, "hot 0/0 returned 0 pricing=/pricing:60 demo=/demo*:40"},
		{registry.ScoreChange{HotScore: ptr(70), HotCooldownDays: ptr(3)}, "hot 70/3 returned 0 pricing=/pricing:60 demo=/demo*:40"},
		{registry.ScoreChange{KeyPages: []registry.KeyPage{{Name: "pricing", Path: "/prijzen", Weight: 80}}, Remove: []string{"demo"}}, "hot 70/3 returned 0 pricing=/prijzen:80"},
		{registry.ScoreChange{RemoveAll: true, KeyPages: []registry.KeyPage{demo}, ReturnedAfterDays: ptr(14)}, "hot 70/3 returned 14 demo=/demo*:40"},
		{registry.ScoreChange{RemoveAll: true, HotScore: ptr(0), HotCooldownDays: ptr(0), ReturnedAfterDays: ptr(0)}, "none"},
	} {
		changed, err := w.store.SetScoreRules(t.Context(), claim, site.ID, step.change)
		if err != nil {
			t.Fatal(err)
		}
		if version++; changed.Version != version {
			t.Errorf("version %d, want %d", changed.Version, version)
		}
		if got := published(); got != step.want {
			t.Errorf("published %s, want %s", got, step.want)
		}
	}
	if same, err := w.store.SetScoreRules(t.Context(), claim, site.ID, registry.ScoreChange{HotScore: ptr(0)}); err != nil || same.Version != version {
		t.Errorf("a change of nothing made version %d, %v", same.Version, err)
	}

	many := make([]registry.KeyPage, schemas.KeyPagesMax+1)
	for i := range many {
		many[i] = registry.KeyPage{Name: strings.Repeat("x", i+1), Path: "/x", Weight: 1}
	}
	for name, c := range map[string]registry.ScoreChange{
		"nothing":          {},
		"path":             {KeyPages: []registry.KeyPage{{Name: "a", Path: "a", Weight: 1}}},
		"weight":           {KeyPages: []registry.KeyPage{{Name: "a", Path: "/a", Weight: 101}}},
		"negative weight":  {KeyPages: []registry.KeyPage{{Name: "a", Path: "/a", Weight: -1}}},
		"threshold":        {HotScore: ptr(101)},
		"negative":         {HotScore: ptr(-1)},
		"cool-down":        {HotCooldownDays: ptr(31)},
		"returned":         {ReturnedAfterDays: ptr(31)},
		"too many":         {KeyPages: many},
		"name with a line": {KeyPages: []registry.KeyPage{{Name: "a\nb", Path: "/a", Weight: 1}}},
	} {
		if _, err := w.store.SetScoreRules(t.Context(), claim, site.ID, c); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.store.SetScoreRules(t.Context(), claim, site.ID, registry.ScoreChange{Remove: []string{"demo"}}); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a key page that is not there: %v", err)
	}
	other, _ := w.tenantWithSite("Beta")
	if _, err := w.store.SetScoreRules(t.Context(), other, site.ID, registry.ScoreChange{HotScore: ptr(9)}); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("another tenant's site: %v", err)
	}
}
