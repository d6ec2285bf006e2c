package verdict

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Score is how a set of databases does over labelled addresses, each truncated as
// a collector does.
type Score struct {
	Rows int `json:"rows"`
	// Precision is right names of names shown; Recall right names of the
	// companies that the default database can know; RecallAll of all companies.
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	RecallAll float64 `json:"recall_all"`
	// Companies are the rows that are a company's, Knowable those of them that
	// the default database can know, Shown the names shown, False the wrong ones.
	Companies int `json:"companies"`
	Knowable  int `json:"knowable"`
	Shown     int `json:"shown"`
	False     int `json:"false"`
	// Exact are the rows with the very verdict and account of the label.
	Exact int `json:"exact"`
	// Untruncated counts the rows of which the whole address has another verdict
	// or account.
	Untruncated int `json:"differs_untruncated"`
	// Coverage is the rows by the verdict's reason, the most first.
	Coverage []Reason `json:"coverage"`
	// Classes is the rows by class.
	Classes []Class `json:"classes"`
	Wrong   []Wrong `json:"wrong,omitempty"`
}

// Reason is a verdict and its source.
type Reason struct {
	Verdict string  `json:"verdict"`
	Reason  string  `json:"reason"`
	Rows    int     `json:"rows"`
	Share   float64 `json:"share"`
}

// Class is the rows of one class of the labelled set.
type Class struct {
	Class string `json:"class"`
	Rows  int    `json:"rows"`
	Exact int    `json:"exact"`
	Shown int    `json:"shown"`
}

// Wrong is a row that was decided otherwise than its label says.
type Wrong struct {
	Address string `json:"address"`
	Class   string `json:"class"`
	Want    string `json:"want"`
	Got     string `json:"got"`
	Name    string `json:"name,omitempty"`
	// False says that a name was shown that is not the address's.
	False bool `json:"false"`
}

// Measure decides about every label and compares.
func Measure(judge Judge, labels []Label) (Score, error) {
	if len(labels) == 0 {
		return Score{}, errors.New("the labelled set is empty")
	}
	s := Score{Rows: len(labels)}
	right := 0
	reasons := make(map[Reason]int)
	classes := make(map[string]*Class)
	for _, l := range labels {
		got, err := judge.Decide(Truncated(l.Address, nil))
		if err != nil {
			return Score{}, fmt.Errorf("deciding about a labelled address: %w", err)
		}
		whole, err := judge.Decide(Full(l.Address))
		if err != nil {
			return Score{}, fmt.Errorf("deciding about a labelled address: %w", err)
		}
		if whole.Verdict != got.Verdict || whole.Account != got.Account {
			s.Untruncated++
		}
		reasons[Reason{Verdict: got.Verdict, Reason: got.Reason}]++
		c := classes[l.Class]
		if c == nil {
			c = &Class{Class: l.Class}
			classes[l.Class] = c
		}
		c.Rows++
		hit := s.count(l, got, c)
		if hit {
			right++
		}
	}
	s.Precision, s.Recall, s.RecallAll = ratio(right, s.Shown), ratio(right, s.Knowable), ratio(right, s.Companies)
	for r, n := range reasons {
		r.Rows, r.Share = n, ratio(n, s.Rows)
		s.Coverage = append(s.Coverage, r)
	}
	slices.SortFunc(s.Coverage, func(a, b Reason) int {
		return cmp.Or(b.Rows-a.Rows, cmp.Compare(a.Verdict+a.Reason, b.Verdict+b.Reason))
	})
	for _, name := range slices.Sorted(maps.Keys(classes)) {
		s.Classes = append(s.Classes, *classes[name])
	}
	return s, nil
}

// count notes one row and reports whether the right company was named.
func (s *Score) count(l Label, got Decision, c *Class) bool {
	shown := got.Verdict == "company"
	right := shown && got.Account == l.Account // also one that was held to be unknowable
	if l.Account != "" {
		s.Companies++
		if !l.Unknowable || right {
			s.Knowable++
		}
	}
	if shown {
		s.Shown++
		c.Shown++
	}
	if shown && !right {
		s.False++
	}
	exact := got.Verdict == l.Verdict && (l.Unknowable || got.Account == l.Account)
	if exact {
		s.Exact++
		c.Exact++
	} else if !right {
		s.Wrong = append(s.Wrong, Wrong{
			Address: l.Address.String(), Class: l.Class, Want: l.Verdict + " " + l.Account, Got: got.Verdict + " " + got.Account,
			Name: got.Name, False: shown,
		})
	}
	return right
}

// ratio is one for nothing of nothing: no name shown is no false one.
func ratio(part, whole int) float64 {
	if whole == 0 {
		return 1
	}
	return float64(part) / float64(whole)
}
