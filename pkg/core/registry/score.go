package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// ScoreRules is how accounts are scored on a site. Zero thresholds are the scorer's
// defaults.
type ScoreRules struct {
	KeyPages          []KeyPage `json:"key_pages,omitempty"`
	HotScore          int       `json:"hot_score,omitempty"`
	HotCooldownDays   int       `json:"hot_cooldown_days,omitempty"`
	ReturnedAfterDays int       `json:"returned_after_days,omitempty"`
}

// KeyPage is a page that says more about a visitor than others. Path is exact, or
// with a star at its end everything that begins so; Weight is 1 to 100.
type KeyPage struct {
	Name   string `json:"name"`
	Path   string `json:"path"`
	Weight int    `json:"weight"`
}

// record is the rules as they are published; nil when all is the default.
func (r ScoreRules) record() *metivav1.ScoreRules {
	out := &metivav1.ScoreRules{
		HotScore: uint32(max(r.HotScore, 0)), HotCooldownDays: uint32(max(r.HotCooldownDays, 0)), ReturnedAfterDays: uint32(max(r.ReturnedAfterDays, 0)),
	}
	for _, p := range r.KeyPages {
		out.KeyPages = append(out.KeyPages, &metivav1.KeyPage{Name: p.Name, Path: p.Path, Weight: uint32(max(p.Weight, 0))})
	}
	if len(out.GetKeyPages()) == 0 && out.GetHotScore() == 0 && out.GetHotCooldownDays() == 0 && out.GetReturnedAfterDays() == 0 {
		return nil
	}
	return out
}

// ScoreChange is what SetScoreRules changes; nil leaves a setting as it is.
type ScoreChange struct {
	// KeyPages are added, or replace the one of their name.
	KeyPages []KeyPage
	// Remove names key pages to take away, before KeyPages are added.
	Remove []string
	// RemoveAll takes all of them away, before KeyPages are added.
	RemoveAll bool
	// 0 is the default.
	HotScore, HotCooldownDays, ReturnedAfterDays *int
}

func (c ScoreChange) empty() bool {
	return len(c.KeyPages) == 0 && len(c.Remove) == 0 && !c.RemoveAll && c.HotScore == nil && c.HotCooldownDays == nil && c.ReturnedAfterDays == nil
}

// apply gives the rules after the change.
func (c ScoreChange) apply(r ScoreRules) (ScoreRules, error) {
	pages := slices.Clone(r.KeyPages)
	if c.RemoveAll {
		pages = nil
	}
	find := func(name string) int { return slices.IndexFunc(pages, func(p KeyPage) bool { return p.Name == name }) }
	for _, name := range c.Remove {
		i := find(name)
		if i < 0 {
			return r, fmt.Errorf("the key page to remove: %w", ErrNotFound)
		}
		pages = slices.Delete(pages, i, i+1)
	}
	for _, p := range c.KeyPages {
		if i := find(p.Name); i >= 0 {
			pages[i] = p
		} else {
			pages = append(pages, p)
		}
	}
	r.KeyPages = pages
	for to, from := range map[*int]*int{&r.HotScore: c.HotScore, &r.HotCooldownDays: c.HotCooldownDays, &r.ReturnedAfterDays: c.ReturnedAfterDays} {
		if from == nil {
			continue
		}
		if *from < 0 {
			return r, fmt.Errorf("%w: a number is below 0", ErrInvalid)
		}
		*to = *from
	}
	if err := schemas.CheckScoreRules(r.record()); err != nil {
		return r, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return r, nil
}

// SetScoreRules changes how accounts are scored on a site. It counts for visits from
// then on; days that are scored already are not scored again.
func (s *Store) SetScoreRules(ctx context.Context, claim tenant.Claim, siteID string, c ScoreChange) (Site, error) {
	if c.empty() {
		return Site{}, fmt.Errorf("%w: %w", ErrInvalid, errors.New("there is nothing to change"))
	}
	return s.changeSiteTo(ctx, claim, siteID, "setting the score rules of a site", func(ctx context.Context, tx tenant.Tx, site Site) error {
		rules, err := c.apply(site.ScoreRules)
		if err != nil {
			return err
		}
		value, err := json.Marshal(rules)
		if err != nil {
			return fmt.Errorf("encoding the score rules of a site: %w", err)
		}
		before, err := json.Marshal(site.ScoreRules)
		if err != nil {
			return fmt.Errorf("encoding the score rules of a site: %w", err)
		}
		if string(before) == string(value) {
			return errUnchanged
		}
		_, err = tx.Exec(ctx, querySetScoreRules, siteID, string(value))
		return err
	})
}

func scanScoreRules(row pgx.Row) (of string, r ScoreRules, err error) {
	var value []byte
	if err = row.Scan(&of, &value); err != nil {
		return of, r, err
	}
	if err = json.Unmarshal(value, &r); err != nil {
		err = fmt.Errorf("reading the score rules of a site: %w", err)
	}
	return of, r, err
}
