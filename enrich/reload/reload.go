package reload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/source"
	"github.com/metiva-io/metiva/enrich/verdict"
)

// EveryMin is the least pause between two looks at the files.
const EveryMin = 10 * time.Millisecond

// Config says which files.
type Config struct {
	// GeoDir is the directory of the address databases, every *.mmdb of it.
	GeoDir string
	// Lists are the operator's lists; each may be empty.
	Lists company.Lists
	// ReferrerSpam is the operator's list of hosts; empty is none.
	ReferrerSpam string
	// Every is the pause between two looks at the files; 0 reads them once.
	Every time.Duration
}

// Validate reports every fault. It reads the lists, since a process should not
// start with one that is at fault.
func (c Config) Validate() error {
	_, fault := c.readLists()
	faults := []error{fault}
	if c.Every != 0 && c.Every < EveryMin {
		faults = append(faults, fmt.Errorf("reload: files can be looked at every %s at most, or never (0)", EveryMin))
	}
	if c.GeoDir == "" {
		faults = append(faults, errors.New("reload: the directory with the address databases is missing"))
	} else if _, err := geo.FilesIn(c.GeoDir); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// Lists is what is made from the operator's lists and the tables built in.
type Lists struct {
	Chain   *company.Chain
	Sources *source.Tables
}

func (c Config) readLists() (Lists, error) {
	var out Lists
	var spam []string
	if c.ReferrerSpam != "" {
		file, err := os.Open(c.ReferrerSpam)
		if err != nil {
			return out, fmt.Errorf("opening the operator's referrer spam: %w", err)
		}
		defer func() { _ = file.Close() }() // opened for reading
		if spam, err = source.ReadSpam(file); err != nil {
			return out, fmt.Errorf("reading the operator's referrer spam: %w", err)
		}
	}
	own, err := c.Lists.Read()
	if err != nil {
		return out, err
	}
	if out.Chain, err = company.NewChain(own); err != nil {
		return out, err
	}
	if out.Sources, err = source.NewTables(spam); err != nil {
		return out, fmt.Errorf("reading the lists of sources: %w", err)
	}
	return out, nil
}

// Data is the data files in use. Databases, Lists and Run may be used at once.
type Data struct {
	cfg       Config
	log       *slog.Logger
	databases *geo.Databases
	lists     atomic.Pointer[Lists]

	reloads *prometheus.CounterVec
	refused prometheus.Gauge

	// Fingerprints of the files: those in use, those of the last look, and those
	// that were refused last.
	inUse, seen, bad string
}

// Open reads the files. Close gives them back.
func Open(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Data, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	d := &Data{
		cfg: cfg, log: log, inUse: cfg.fingerprint(),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "metiva_enrich_data_reloads_total", Help: "Changes of the data files, by outcome: taken, refused.",
		}, []string{"outcome"}),
		refused: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "metiva_enrich_data_refused", Help: "1 while the data files on the disk are refused and older ones are in use.",
		}),
	}
	d.seen = d.inUse
	for _, outcome := range []string{outcomeTaken, outcomeRefused} {
		d.reloads.WithLabelValues(outcome)
	}
	if err := errors.Join(reg.Register(d.reloads), reg.Register(d.refused)); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	lists, err := cfg.readLists()
	if err != nil {
		return nil, err
	}
	d.lists.Store(&lists)
	files, err := geo.FilesIn(cfg.GeoDir)
	if err != nil {
		return nil, err
	}
	if d.databases, err = geo.OpenDatabases(files); err != nil {
		return nil, err
	}
	return d, nil
}

const (
	outcomeTaken   = "taken"
	outcomeRefused = "refused"
)

// Databases are the open databases; they are replaced in place.
func (d *Data) Databases() *geo.Databases { return d.databases }

// Lists are those in use.
func (d *Data) Lists() Lists { return *d.lists.Load() }

// Close closes the databases, once nobody has a view of them.
func (d *Data) Close() error { return d.databases.Close() }

// Run looks at the files until ctx ends. Apply is called with the lists of each
// change that was taken.
func (d *Data) Run(ctx context.Context, apply func(Lists)) error {
	if d.cfg.Every == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(d.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			d.look(apply)
		}
	}
}

// look is one look at the files.
func (d *Data) look(apply func(Lists)) {
	now := d.cfg.fingerprint()
	settled := now == d.seen
	d.seen = now
	switch {
	case now == d.inUse:
		d.bad = ""
		d.refused.Set(0)
	case !settled, now == d.bad:
		// Somebody may still be writing, or these were refused already.
	default:
		d.take(now, apply)
	}
}

func (d *Data) take(now string, apply func(Lists)) {
	lists, err := d.reload()
	if err != nil {
		d.bad = now
		d.refused.Set(1)
		d.reloads.WithLabelValues(outcomeRefused).Inc()
		d.log.Error("the data files have changed and are refused; those before stay in use", "error", err)
		return
	}
	d.inUse, d.bad = now, ""
	d.lists.Store(&lists)
	apply(lists)
	d.refused.Set(0)
	d.reloads.WithLabelValues(outcomeTaken).Inc()
	d.log.Info("the data files have changed and are in use")
}

// errFalse: a wrong name is worse than an old database.
var errFalse = errors.New("with these files companies would be named that are not the addresses'")

// reload reads and checks the files, and puts the databases in place.
func (d *Data) reload() (Lists, error) {
	lists, err := d.cfg.readLists()
	if err != nil {
		return lists, err
	}
	files, err := geo.FilesIn(d.cfg.GeoDir)
	if err != nil {
		return lists, err
	}
	labels, err := verdict.Labelled()
	if err != nil {
		return lists, err
	}
	return lists, d.databases.SwapChecked(files, func(view geo.View) error {
		for _, r := range view.Readers() {
			if err := r.Verify(); err != nil {
				return err
			}
		}
		score, err := verdict.Measure(verdict.Judge{View: view, Chain: lists.Chain}, labels)
		switch {
		case err != nil:
			return err
		case score.False > 0:
			return fmt.Errorf("%w: %d of the labelled set (metiva geo check lists them)", errFalse, score.False)
		}
		return nil
	})
}

// fingerprint is what is known of the files without reading them.
func (c Config) fingerprint() string {
	files, err := geo.FilesIn(c.GeoDir)
	if err != nil {
		files = geo.Files{c.GeoDir}
	}
	var b strings.Builder
	for _, path := range append(files, c.Lists.Suppressions, c.Lists.Rows, c.ReferrerSpam) {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			fmt.Fprintf(&b, "%s is away\n", path)
			continue
		}
		inode := uint64(0)
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			inode = s.Ino
		}
		fmt.Fprintf(&b, "%s %d %d %d\n", path, info.Size(), info.ModTime().UnixNano(), inode)
	}
	return b.String()
}
