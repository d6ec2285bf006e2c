package metiva

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/verdict"
)

type geoCheck struct {
	dataFlags
	lists
	Geo string `env:"METIVA_GEO_DIR" help:"Directory of the databases; default: geo in the cache."`
}

// checkReport is what the command prints.
type checkReport struct {
	Databases []checkedDatabase `json:"databases"`
	// Changed are systems of the tables that the databases announce under another
	// name: a number may have changed hands. Where the names have nothing in common
	// the chain names nobody; look at the others.
	Changed []company.ChangedSystem `json:"changed_systems"`
	Score   verdict.Score           `json:"labelled"`
}

type checkedDatabase struct {
	File      string    `json:"file"`
	Type      string    `json:"type"`
	Layout    string    `json:"layout"`
	IPVersion int       `json:"ip_version"`
	BuildTime time.Time `json:"build_time"`
	Fault     string    `json:"fault,omitempty"`
}

// errCheck: the report says what.
var errCheck = errors.New("the databases are not in order")

// Run reads every database to its end and asks the labelled set.
func (c *geoCheck) Run(ctx context.Context, t terminal) error {
	dir, err := c.geoDir(c.Geo)
	if err != nil {
		return err
	}
	return withGeo(dir, c.lists, func(judge verdict.Judge) error {
		var report checkReport
		damaged := false
		for _, r := range judge.View.Readers() {
			d := checkedDatabase{File: filepath.Base(r.File()), Type: r.DatabaseType(), Layout: r.Layout().String(), IPVersion: r.IPVersion(), BuildTime: r.BuildTime()}
			if err := r.Verify(); err != nil {
				d.Fault, damaged = err.Error(), true
			}
			report.Databases = append(report.Databases, d)
		}
		if !damaged {
			if report.Changed, err = judge.Chain.Changed(ctx, judge.View); err != nil {
				return err
			}
			labels, err := verdict.Labelled()
			if err != nil {
				return err
			}
			if report.Score, err = verdict.Measure(judge, labels); err != nil {
				return err
			}
		}
		if err := json.NewEncoder(t.out).Encode(report); err != nil {
			return err
		}
		if damaged || report.Score.False > 0 {
			return errCheck
		}
		return nil
	})
}

type geoDiff struct {
	dataFlags
	lists
	Before string `arg:"" help:"Directory of the databases in use."`
	After  string `arg:"" help:"Directory of the databases to come."`
	Limit  int    `default:"50" help:"Accounts to list of each kind; 0 lists all."`
}

// diffReport is what the command prints; of the lists at most Limit.
type diffReport struct {
	verdict.Difference

	GoneCount  int `json:"gone_count"`
	NewCount   int `json:"new_count"`
	MovedCount int `json:"moved_count"`
}

// Run compares the verdicts on every address.
func (c *geoDiff) Run(ctx context.Context, t terminal) error {
	return withGeo(c.Before, c.lists, func(before verdict.Judge) error {
		return withGeo(c.After, c.lists, func(after verdict.Judge) error {
			diff, err := verdict.Diff(ctx, before, after, func(at netip.Addr) { _, _ = fmt.Fprintf(t.err, "compared up to %s\n", at) })
			if err != nil {
				return err
			}
			report := diffReport{Difference: diff, GoneCount: len(diff.Gone), NewCount: len(diff.New), MovedCount: len(diff.Moved)}
			if c.Limit > 0 {
				report.Gone, report.New, report.Moved = first(diff.Gone, c.Limit), first(diff.New, c.Limit), first(diff.Moved, c.Limit)
			}
			return json.NewEncoder(t.out).Encode(report)
		})
	})
}

func first(list []verdict.Change, limit int) []verdict.Change {
	return list[:min(limit, len(list))]
}
