package metiva

import (
	"context"
	"encoding/json"
	"path/filepath"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/edgefile"
	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/verdict"
)

type geoCommand struct {
	Build  geoBuild  `cmd:"" help:"Build the default company database from the installed data."`
	Check  geoCheck  `cmd:"" help:"Verify the databases of a directory, and the tables against them; exits with 1 when something is wrong."`
	Diff   geoDiff   `cmd:"" help:"Print what changes between two sets of databases, before one takes the place of the other."`
	Lookup geoLookup `cmd:"" help:"Print the verdict for addresses, one JSON object each, in a line."`

	Networks geoNetworks `cmd:"" help:"Write the business networks of the databases, for collectors of the precision network."`
}

type geoBuild struct {
	dataFlags
	Out string `help:"Directory to write to; default: geo in the cache."`
}

// Run builds the database and prints the report as JSON.
func (c *geoBuild) Run(ctx context.Context, t terminal) error {
	cache, err := c.cacheDir()
	if err != nil {
		return err
	}
	if c.Out == "" {
		c.Out = filepath.Join(cache, "geo")
	}
	report, err := stack.BuildGeo(ctx, cache, c.Out, func(format string, args ...any) { t.printf(format+"\n", args...) })
	if err != nil {
		return err
	}
	return json.NewEncoder(t.out).Encode(report)
}

// lists are the operator's own files, those of the enrich process.
type lists struct {
	Suppressions string `env:"METIVA_ENRICH_SUPPRESSIONS" help:"File of networks that are never resolved."`
	Rows         string `env:"METIVA_ENRICH_COMPANY_ROWS" name:"company-rows" help:"CSV of who uses a network."`
}

func (l lists) chain() (*company.Chain, error) {
	cfg, err := company.Lists{Suppressions: l.Suppressions, Rows: l.Rows}.Read()
	if err != nil {
		return nil, err
	}
	return company.NewChain(cfg)
}

// geoDir is the directory of the databases; empty is the default one.
func (f dataFlags) geoDir(dir string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	cache, err := f.cacheDir()
	return filepath.Join(cache, "geo"), err
}

// withGeo opens the databases of a directory, as enrich does.
func withGeo(dir string, own lists, do func(judge verdict.Judge) error) error {
	files, err := geo.FilesIn(dir)
	if err != nil {
		return err
	}
	databases, err := geo.OpenDatabases(files)
	if err != nil {
		return err
	}
	defer func() { _ = databases.Close() }()
	chain, err := own.chain()
	if err != nil {
		return err
	}
	view, err := databases.View()
	if err != nil {
		return err
	}
	defer view.Release()
	return do(verdict.Judge{View: view, Chain: chain})
}

type geoNetworks struct {
	dataFlags
	lists
	Geo string `env:"METIVA_GEO_DIR" help:"Directory of the databases; default: geo in the cache."`
	Out string `help:"File to write; default: business.networks beside the databases. It is replaced as a whole."`
}

// networksReport is what the command prints.
type networksReport struct {
	File      string    `json:"file"`
	Networks  int       `json:"networks"`
	BuildTime time.Time `json:"build_time"`
}

// Run writes the file and prints what is in it as JSON.
func (c *geoNetworks) Run(ctx context.Context, t terminal) error {
	dir, err := c.geoDir(c.Geo)
	if err != nil {
		return err
	}
	if c.Out == "" {
		c.Out = filepath.Join(dir, edgefile.FileName)
	}
	return withGeo(dir, c.lists, func(judge verdict.Judge) error {
		set, err := edgefile.Build(ctx, judge.View, judge.Chain)
		if err != nil {
			return err
		}
		if err := edgefile.Write(c.Out, set); err != nil {
			return err
		}
		return json.NewEncoder(t.out).Encode(networksReport{File: c.Out, Networks: set.Len(), BuildTime: set.BuildTime()})
	})
}
