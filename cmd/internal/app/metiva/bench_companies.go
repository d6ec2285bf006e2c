package metiva

import (
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/metiva-io/metiva/enrich/verdict"
)

type benchCompanies struct {
	dataFlags
	lists
	Geo   string `env:"METIVA_GEO_DIR" help:"Directory of the databases; default: geo in the cache."`
	Wrong bool   `help:"Also list the rows decided otherwise than their label says."`
}

// errFalseCompany: a wrong name is worse than none.
var errFalseCompany = errors.New("a company was named that is not the address's")

// Run decides about the labelled set and prints the score; the last line is JSON.
// It fails when a wrong name was shown.
func (c *benchCompanies) Run(t terminal) error {
	dir, err := c.geoDir(c.Geo)
	if err != nil {
		return err
	}
	labels, err := verdict.Labelled()
	if err != nil {
		return err
	}
	return withGeo(dir, c.lists, func(judge verdict.Judge) error {
		score, err := verdict.Measure(judge, labels)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
		line := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) } // Flush reports
		line("rows\t%d", score.Rows)
		line("precision\t%.4f\t%d names shown, %d false", score.Precision, score.Shown, score.False)
		line("recall\t%.4f\tof %d companies the default database can know", score.Recall, score.Knowable)
		line("recall of all\t%.4f\tof %d companies", score.RecallAll, score.Companies)
		line("\nverdict\treason\trows\tshare")
		for _, r := range score.Coverage {
			line("%s\t%s\t%d\t%.1f %%", r.Verdict, r.Reason, r.Rows, r.Share*100)
		}
		line("\nclass\trows\texact\tnamed")
		for _, r := range score.Classes {
			line("%s\t%d\t%d\t%d", r.Class, r.Rows, r.Exact, r.Shown)
		}
		if c.Wrong {
			line("\naddress\tclass\twant\tgot")
			for _, r := range score.Wrong {
				line("%s\t%s\t%s\t%s %s", r.Address, r.Class, r.Want, r.Got, r.Name)
			}
		}
		line("")
		if err := w.Flush(); err != nil {
			return fmt.Errorf("printing the score: %w", err)
		}
		if err := json.NewEncoder(t.out).Encode(score); err != nil {
			return fmt.Errorf("printing the score: %w", err)
		}
		if score.False > 0 {
			return errFalseCompany
		}
		return nil
	})
}
