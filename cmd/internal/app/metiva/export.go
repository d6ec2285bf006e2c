package metiva

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/pkg/core/audit"
	"github.com/metiva-io/metiva/pkg/core/export"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/tenant"
)

// exportCommand hands a tenant what is kept of it.
type exportCommand struct {
	Tenant exportTenant `cmd:"" help:"Write all that is kept of one tenant into a directory."`
	Verify exportVerify `cmd:"" help:"Compare such a directory with its manifest; exits with 1 when it is not whole or was changed."`
}

// exportTenant writes an export. Its limits are those of one table.
type exportTenant struct {
	storeFlags
	Tenant     string        `required:"" help:"Tenant (cmp_…)."`
	Out        string        `required:"" type:"path" help:"Directory to write to; made, or there and empty."`
	Format     string        `enum:"ndjson,csv,parquet" default:"ndjson" help:"ndjson, csv or parquet."`
	Since      string        `help:"Only rows from this moment on: RFC 3339, a date (UTC) or a time ago (720h)."`
	Until      string        `help:"Only rows before this moment: RFC 3339, a date (UTC) or a time ago."`
	TimeMax    time.Duration `name:"time-max" env:"METIVA_EXPORT_TIME_MAX" default:"6h" help:"How long one table may take."`
	MemoryMax  int64         `name:"memory-bytes-max" env:"METIVA_EXPORT_MEMORY_BYTES_MAX" default:"1073741824" help:"How much memory ClickHouse may use for one table, in bytes."`
	RowsMax    int64         `name:"rows-read-max" env:"METIVA_EXPORT_ROWS_READ_MAX" default:"0" help:"How many rows ClickHouse may read for one table; 0 is no bound."`
	ThreadsMax int           `name:"threads-max" env:"METIVA_EXPORT_THREADS_MAX" default:"2" help:"How many threads ClickHouse may use for one table."`
}

// period is that of the flags; zero when none is given.
func (c *exportTenant) period(now time.Time) (analytics.Period, error) {
	if c.Since == "" && c.Until == "" {
		return analytics.Period{}, nil
	}
	// Rows of all times that a table takes (2100).
	p := analytics.Period{From: time.Unix(1, 0).UTC(), To: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, end := range []struct {
		name, text string
		to         *time.Time
	}{{"since", c.Since, &p.From}, {"until", c.Until, &p.To}} {
		if end.text == "" {
			continue
		}
		at, err := dayOrMoment(end.text, now)
		if err != nil {
			return p, fmt.Errorf("--%s: %w", end.name, err)
		}
		*end.to = at
	}
	return p, nil
}

// dayOrMoment is momentOf that also takes a date.
func dayOrMoment(text string, now time.Time) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day, nil
	}
	return momentOf(text, now)
}

// Run writes the export and prints what is in it.
func (c *exportTenant) Run(ctx context.Context, t terminal) error {
	claim, err := tenant.OperatorClaim(c.Tenant, operator())
	if err != nil {
		return err
	}
	period, err := c.period(time.Now())
	if err != nil {
		return err
	}
	if c.TimeMax < time.Second {
		return errors.New("--time-max is less than a second")
	}
	cfg := export.Config{
		Dir: c.Out, Format: analytics.ExportFormat(c.Format), Period: period, Now: time.Now,
		Limits: analytics.ExportLimits{SecondsMax: int(c.TimeMax.Seconds()), MemoryBytesMax: c.MemoryMax, RowsReadMax: c.RowsMax, ThreadsMax: c.ThreadsMax},
	}
	return c.withAudit(ctx, func(pool *tenant.Pool) error {
		cfg.Audit = audit.New(pool, time.Now).Append
		if err := cfg.Validate(); err != nil {
			return err
		}
		return c.withRegistry(ctx, func(store *registry.Store) error {
			return c.withClickHouseFor(c.TimeMax, func(conn *clickhouse.Conn) error {
				m, err := export.Write(ctx, conn, store, claim, cfg)
				if err != nil {
					return err
				}
				return printExport(t, m, c.Out)
			})
		})
	})
}

func printExport(t terminal, m export.Manifest, path string) error {
	sum, err := export.Sum(path)
	if err != nil {
		return err
	}
	t.table("file | rows | bytes | SHA-256", func(row func(...any)) {
		for _, f := range m.Files {
			row(f.Name, f.Rows, f.Bytes, f.SHA256)
		}
		row(export.ManifestName, "", "", sum)
	})
	t.printf("tenant %s, as %s, of %s\n", m.CompanyID, m.Format, m.CreatedAt.Format(time.RFC3339))
	return nil
}

type exportVerify struct {
	Dir string `arg:"" type:"path" help:"The export's directory."`
	Sum string `name:"sha256" help:"SHA-256 the manifest has to have, as it was printed when the export was made."`
}

// errOtherManifest is returned for a manifest that is not the one asked for.
var errOtherManifest = errors.New("the manifest is not the one with that SHA-256")

// Run checks the directory and prints what is in it.
func (c *exportVerify) Run(t terminal) error {
	m, err := export.Verify(c.Dir)
	if err != nil {
		return err
	}
	sum, err := export.Sum(c.Dir)
	if err != nil {
		return err
	}
	if c.Sum != "" && c.Sum != sum {
		return errOtherManifest
	}
	return printExport(t, m, c.Dir)
}
