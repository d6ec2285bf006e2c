package metiva

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/metiva-io/metiva/enrich/score"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/tenant"
)

type siteScore struct {
	siteFlags
	KeyPage           []string `name:"key-page" sep:"none" placeholder:"NAME=PATH:WEIGHT" help:"Key page, such as pricing=/pricing:60 or demo=/demo*:40: a path, or with * at its end all that begin so, and a weight of 1 to 100; repeatable, replaces the one of its name."`
	RemoveKeyPage     []string `name:"remove-key-page" sep:"none" placeholder:"NAME" help:"Key page to take away; repeatable."`
	NoKeyPages        bool     `name:"no-key-pages" help:"Take all key pages away that are not given anew."`
	HotScore          *int     `name:"hot-score" help:"Score of a day from which an account is hot; 0 is the default."`
	HotCooldownDays   *int     `name:"hot-cooldown-days" help:"Days from one account.hot of an account to the next; 0 is the default."`
	ReturnedAfterDays *int     `name:"returned-after-days" help:"Days an account has to be away to have returned; 0 is the default."`
}

// Run changes the rules.
func (c *siteScore) Run(ctx context.Context, t terminal) error {
	change := registry.ScoreChange{
		Remove: c.RemoveKeyPage, RemoveAll: c.NoKeyPages,
		HotScore: c.HotScore, HotCooldownDays: c.HotCooldownDays, ReturnedAfterDays: c.ReturnedAfterDays,
	}
	for _, text := range c.KeyPage {
		page, err := parseKeyPage(text)
		if err != nil {
			return err
		}
		change.KeyPages = append(change.KeyPages, page)
	}
	return c.change(ctx, t, func(s *registry.Store, claim tenant.Claim) (registry.Site, error) {
		return s.SetScoreRules(ctx, claim, c.Site, change)
	})
}

// parseKeyPage reads name=path:weight. Names have no equals sign; the weight is behind
// the last colon.
func parseKeyPage(text string) (registry.KeyPage, error) {
	name, rest, named := strings.Cut(text, "=")
	colon := strings.LastIndexByte(rest, ':')
	if !named || colon < 0 {
		return registry.KeyPage{}, errors.New("a key page is NAME=PATH:WEIGHT, such as pricing=/pricing:60")
	}
	weight, err := strconv.Atoi(rest[colon+1:])
	if err != nil {
		return registry.KeyPage{}, errors.New("the weight of a key page is a number from 1 to 100, behind the last colon")
	}
	return registry.KeyPage{Name: name, Path: rest[:colon], Weight: weight}, nil
}

// scoreSettings are the rules as pairs of a setting and its value.
func scoreSettings(r registry.ScoreRules) [][2]string {
	or := func(n, otherwise int) string {
		if n == 0 {
			n = otherwise
		}
		return strconv.Itoa(n)
	}
	out := [][2]string{
		{"hot from a score of", or(r.HotScore, score.HotScoreDefault)},
		{"hot again after", or(r.HotCooldownDays, score.HotCooldownDaysDefault) + " days"},
		{"returned after", or(r.ReturnedAfterDays, score.ReturnedAfterDaysDefault) + " days"},
	}
	for _, p := range r.KeyPages {
		out = append(out, [2]string{"key page", fmt.Sprintf("%s=%s:%d", p.Name, p.Path, p.Weight)})
	}
	return out
}
