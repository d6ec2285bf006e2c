package export

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/pkg/core/audit"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/tenant"
)

// Config says what to export, and where to.
type Config struct {
	// Dir is made; one that is there has to be empty.
	Dir    string
	Format analytics.ExportFormat
	// Period bounds the rows by each table's time; the zero one does not.
	Period analytics.Period
	Limits analytics.ExportLimits
	// Now is the clock.
	Now func() time.Time
	// Audit makes a record of the export durable (audit.Log). Without one that says it
	// begins, nothing is exported.
	Audit func(ctx context.Context, claim tenant.Claim, e audit.Entry) error

	// finished is told of the export once its manifest is there: an error undoes it.
	finished func(ctx context.Context, m Manifest, sum string) error
	// whole is asked before the manifest is written: ErrErased when rows went meanwhile.
	whole func(ctx context.Context) error
}

// Validate lists every fault.
func (c Config) Validate() error {
	var faults []error
	if c.Dir == "" {
		faults = append(faults, errors.New("an export needs a directory"))
	}
	known := false
	for _, f := range analytics.ExportFormats() {
		known = known || f == c.Format
	}
	if !known {
		faults = append(faults, errors.New("the format of an export is ndjson, csv or parquet"))
	}
	if c.Period != (analytics.Period{}) && (c.Period.From.IsZero() || !c.Period.From.Before(c.Period.To)) {
		faults = append(faults, errors.New("the period of an export begins before it ends"))
	}
	if c.Now == nil {
		faults = append(faults, errors.New("an export needs a clock"))
	}
	if c.Audit == nil {
		faults = append(faults, errors.New("an export needs an audit"))
	}
	return errors.Join(append(faults, c.Limits.Validate())...)
}

// ErrNotEmpty is returned for a directory that holds something.
var ErrNotEmpty = errors.New("the directory of the export is not empty")

// ErrErased is returned for a tenant that is being erased, or was: what is left of it is
// no export.
var ErrErased = errors.New("the tenant is being erased, or was")

// source gives the rows of one tenant: an analytics.Reader.
type source interface {
	ExportTables(ctx context.Context, format analytics.ExportFormat) ([]analytics.ExportTable, error)
	Export(ctx context.Context, table analytics.ExportTable, format analytics.ExportFormat, p analytics.Period, limits analytics.ExportLimits) (io.ReadCloser, error)
}

// Write exports the claim's tenant, and records it before and after. An error leaves
// nothing of the export behind.
func Write(ctx context.Context, conn *clickhouse.Conn, store *registry.Store, claim tenant.Claim, cfg Config) (Manifest, error) {
	if err := cfg.Validate(); err != nil {
		return Manifest{}, err
	}
	return recorded(ctx, claim, cfg, func(cfg Config) (Manifest, error) { return writeOf(ctx, conn, store, claim, cfg) })
}

func writeOf(ctx context.Context, conn *clickhouse.Conn, store *registry.Store, claim tenant.Claim, cfg Config) (Manifest, error) {
	reader, err := analytics.NewReader(conn, claim)
	if err != nil {
		return Manifest{}, fmt.Errorf("exporting a tenant: %w", err)
	}
	cfg.whole = func(ctx context.Context) error {
		begun, err := store.ErasureBegun(ctx, claim)
		if err == nil && begun {
			err = ErrErased
		}
		return err
	}
	if err := cfg.whole(ctx); err != nil {
		return Manifest{}, err
	}
	facts, err := readFacts(ctx, store, claim)
	if err != nil {
		return Manifest{}, err
	}
	return write(ctx, reader, facts, claim, cfg)
}

func write(ctx context.Context, from source, facts Facts, claim tenant.Claim, cfg Config) (m Manifest, err error) {
	m = Manifest{
		FormatVersion: FormatVersion, CompanyID: claim.CompanyID(), CreatedBy: claim.Actor(), StartedAt: cfg.Now().UTC(),
		Format: cfg.Format, NotExported: analytics.NotExported(),
	}
	if p := cfg.Period; p != (analytics.Period{}) {
		since, until := p.From.UTC(), p.To.UTC()
		m.Since, m.Until = &since, &until
	}
	d, err := openDir(cfg.Dir)
	if err != nil {
		return Manifest{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.undo())
		}
		err = errors.Join(err, d.root.Close())
	}()
	tables, err := from.ExportTables(ctx, cfg.Format)
	if err != nil {
		return Manifest{}, err
	}
	for _, table := range tables {
		file, err := writeTable(ctx, d, from, table, cfg)
		if err != nil {
			return Manifest{}, fmt.Errorf("exporting %s: %w", table.Name, err)
		}
		m.Files = append(m.Files, file)
	}
	file, err := writeJSON(d, RegistryName, facts)
	if err != nil {
		return Manifest{}, err
	}
	m.Files = append(m.Files, file)
	if cfg.whole != nil {
		if err := cfg.whole(ctx); err != nil {
			return Manifest{}, err
		}
	}
	m.CreatedAt = cfg.Now().UTC()
	manifest, err := writeJSON(d, ManifestName, m)
	if err != nil {
		return Manifest{}, err
	}
	if cfg.finished != nil {
		if err := cfg.finished(ctx, m, manifest.SHA256); err != nil {
			return Manifest{}, err
		}
	}
	return m, nil
}

// writeTable writes the rows of one table.
func writeTable(ctx context.Context, d *dir, from source, table analytics.ExportTable, cfg Config) (file File, err error) {
	rows, err := from.Export(ctx, table, cfg.Format, cfg.Period, cfg.Limits)
	if err != nil {
		return File{}, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	file, err = d.write(table.Name+"."+string(cfg.Format), newCounter(cfg.Format), func(w io.Writer) error {
		_, err := io.CopyBuffer(w, rows, make([]byte, copyBytes))
		return err
	})
	file.Table, file.TimeColumn, file.Columns = table.Name, table.TimeColumn, table.Columns
	return file, err
}

// writeJSON writes a document for people to read as well.
func writeJSON(d *dir, name string, document any) (File, error) {
	file, err := d.write(name, nil, func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(document)
	})
	if err != nil {
		return File{}, fmt.Errorf("writing %s: %w", name, err)
	}
	return file, nil
}

const (
	dirMode  = 0o700
	fileMode = 0o600
	// partialSuffix ends the name of a file that is not whole yet.
	partialSuffix = ".partial"
	// copyBytes is what is held of an answer on its way to the disk.
	copyBytes = 256 << 10
)

// dir is the directory of an export that is being written.
type dir struct {
	root *os.Root
	path string
	// made says that the directory was not there before.
	made  bool
	names []string
}

func openDir(path string) (*dir, error) {
	err := os.Mkdir(path, dirMode)
	if err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("making the directory of the export: %w", err)
	}
	made := err == nil
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("opening the directory of the export: %w", err)
	}
	d := &dir{root: root, path: path, made: made}
	if err := d.prepare(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return d, nil
}

// prepare refuses what is not empty, and closes the directory to others: rows of
// persons come into it.
func (d *dir) prepare() error {
	names, err := d.list()
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return ErrNotEmpty
	}
	if err := d.root.Chmod(".", dirMode); err != nil {
		return fmt.Errorf("closing the directory of the export to others: %w", err)
	}
	return nil
}

func (d *dir) list() ([]string, error) {
	names, err := listNames(d.root)
	if err != nil {
		return nil, fmt.Errorf("looking into the directory of the export: %w", err)
	}
	return names, nil
}

func listNames(root *os.Root) (names []string, err error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Readdirnames(-1)
}

// write writes a file under another name, and gives it its own when it is whole and on
// the disk.
func (d *dir) write(name string, count counter, fill func(io.Writer) error) (file File, err error) {
	f, err := d.root.OpenFile(name+partialSuffix, os.O_CREATE|os.O_EXCL|os.O_RDWR, fileMode)
	if err != nil {
		return File{}, fmt.Errorf("making a file: %w", err)
	}
	d.names = append(d.names, name+partialSuffix)
	defer func() {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	out := &sums{to: f, count: count, hash: sha256.New()}
	if err := fill(out); err != nil {
		return File{}, err
	}
	file = File{Name: name, Bytes: out.bytes, SHA256: hex.EncodeToString(out.hash.Sum(nil))}
	if count != nil {
		if file.Rows, err = count.rows(f, out.bytes); err != nil {
			return File{}, err
		}
	}
	err = errors.Join(f.Sync(), f.Close())
	f = nil
	if err != nil {
		return File{}, fmt.Errorf("writing a file to the disk: %w", err)
	}
	if err := d.root.Rename(name+partialSuffix, name); err != nil {
		return File{}, fmt.Errorf("naming a whole file: %w", err)
	}
	d.names[len(d.names)-1] = name
	return file, d.sync()
}

// sync makes the names of the directory outlive a power cut.
func (d *dir) sync() (err error) {
	f, err := d.root.Open(".")
	if err != nil {
		return fmt.Errorf("opening the directory of the export: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("writing the directory of the export to the disk: %w", err)
	}
	return nil
}

// undo removes what was written, and the directory if it was made.
func (d *dir) undo() error {
	var faults []error
	for i := len(d.names) - 1; i >= 0; i-- { // the manifest first
		if err := d.root.Remove(d.names[i]); err != nil && !errors.Is(err, os.ErrNotExist) {
			faults = append(faults, fmt.Errorf("removing what was exported: %w", err))
		}
	}
	if d.made && len(faults) == 0 {
		if err := os.Remove(d.path); err != nil {
			faults = append(faults, fmt.Errorf("removing the directory of the export: %w", err))
		}
	}
	return errors.Join(faults...)
}

// sums passes on what is written, and keeps its length, hash and rows.
type sums struct {
	to    io.Writer
	count counter
	hash  hash.Hash
	bytes int64
}

func (s *sums) Write(p []byte) (int, error) {
	n, err := s.to.Write(p)
	s.bytes += int64(n)
	_, _ = s.hash.Write(p[:n]) // never fails
	if s.count != nil {
		_, _ = s.count.Write(p[:n]) // counts only
	}
	if err != nil {
		return n, fmt.Errorf("writing to the disk: %w", err)
	}
	return n, nil
}
