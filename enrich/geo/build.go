package geo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// DatabaseTypeASN is the type in the metadata of the database Build writes.
// Its records have the two fields of the GeoLite2-ASN layout.
const DatabaseTypeASN = "Metiva-ASN"

// BuildConfig says where the source data is and where the databases go.
type BuildConfig struct {
	// ASNPackageDir is the folder of the package @ip-location-db/asn, with
	// asn-ipv4.csv, asn-ipv6.csv and package.json.
	ASNPackageDir string
	// CountryFile is the country database (iptoasn-country.mmdb). It is used
	// as it is: checked, and copied when CountryOutFile is set. Optional.
	CountryFile string
	// OutFile is the ASN database to write. Folders are created.
	OutFile string
	// CountryOutFile is where a copy of CountryFile goes. Optional.
	CountryOutFile string
	// BuildTime is the build time written into the database. Zero takes the
	// date in the data package's version, so that equal input gives equal
	// bytes.
	BuildTime time.Time
}

// Validate reports every fault of the configuration.
func (c BuildConfig) Validate() error {
	var faults []error
	if c.ASNPackageDir == "" {
		faults = append(faults, errors.New("geo: ASNPackageDir is not set"))
	}
	if c.OutFile == "" {
		faults = append(faults, errors.New("geo: OutFile is not set"))
	}
	if c.CountryOutFile != "" && c.CountryFile == "" {
		faults = append(faults, errors.New("geo: CountryOutFile is set, CountryFile is not"))
	}
	return errors.Join(faults...)
}

// Progress is how far a build is. Done counts to Total rows while reading;
// the phases without rows have Total 0.
type Progress struct {
	Phase string // "reading ipv4", "reading ipv6", "writing", "checking"
	Done  int
	Total int
}

// BuildReport is what a build did. It is what `metiva geo build` prints.
type BuildReport struct {
	File        string        `json:"file"`
	CountryFile string        `json:"country_file,omitempty"`
	DataVersion string        `json:"data_version"`
	BuildTime   time.Time     `json:"build_time"`
	RowsIPv4    int           `json:"rows_ipv4"`
	RowsIPv6    int           `json:"rows_ipv6"`
	Networks    int           `json:"networks"`
	Systems     int           `json:"autonomous_systems"`
	Aliased     int           `json:"skipped_aliased"`
	Reserved    int           `json:"skipped_reserved"`
	Bytes       int64         `json:"bytes"`
	SHA256      string        `json:"sha256"`
	Took        time.Duration `json:"-"`
	TookSeconds float64       `json:"seconds"`
}

// ErrNoData is returned when the data package is not there. The message says
// how to get it.
var ErrNoData = errors.New("address data is not installed: run 'make engines'")

// Build reads the data package and writes the ASN database and its
// attribution file. The database appears under its name only when it is
// complete and has been opened once; a reader of the old file is undisturbed.
// Progress may be nil; it is called from this goroutine.
func Build(ctx context.Context, cfg BuildConfig, progress func(Progress)) (BuildReport, error) {
	started := time.Now()
	if err := cfg.Validate(); err != nil {
		return BuildReport{}, err
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	b := builder{progress: progress, systems: make(map[uint32]struct{})}
	version, dated, err := packageVersion(cfg.ASNPackageDir)
	if err != nil {
		return BuildReport{}, err
	}
	if !cfg.BuildTime.IsZero() {
		dated = cfg.BuildTime
	}
	b.report = BuildReport{File: cfg.OutFile, DataVersion: version, BuildTime: dated.UTC().Truncate(time.Second)}
	if err := b.read(ctx, cfg.ASNPackageDir); err != nil {
		return BuildReport{}, err
	}
	if err := b.write(ctx, cfg.OutFile); err != nil {
		return BuildReport{}, err
	}
	if cfg.CountryFile != "" {
		if b.report.CountryFile, err = installCountry(cfg); err != nil {
			return BuildReport{}, err
		}
	}
	b.report.Took = time.Since(started)
	b.report.TookSeconds = b.report.Took.Seconds()
	return b.report, nil
}

type builder struct {
	tree     *mmdbwriter.Tree
	report   BuildReport
	systems  map[uint32]struct{}
	progress func(Progress)
}

// recordKey makes records of the same system and name share their data. The
// default key hashes the whole record, which costs a third of the build.
type recordKey struct{}

func (recordKey) Key(v mmdbtype.DataType) ([]byte, error) {
	record, ok := v.(mmdbtype.Map)
	if !ok {
		return nil, fmt.Errorf("record of type %T", v)
	}
	asn, _ := record[fieldASN].(mmdbtype.Uint32)
	name, _ := record[fieldOrganization].(mmdbtype.String)
	return append(strconv.AppendUint(nil, uint64(asn), 10), "\x00"+string(name)...), nil
}

const (
	fieldASN          = mmdbtype.String("autonomous_system_number")
	fieldOrganization = mmdbtype.String("autonomous_system_organization")
)

func (b *builder) read(ctx context.Context, dir string) error {
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		BuildEpoch:   b.report.BuildTime.Unix(),
		DatabaseType: DatabaseTypeASN,
		Description:  map[string]string{"en": "Metiva ASN database. " + attributionASN},
		Languages:    []string{"en"},
		RecordSize:   24,
		KeyGenerator: recordKey{},
	})
	if err != nil {
		return fmt.Errorf("creating the address tree: %w", err)
	}
	b.tree = tree
	if b.report.RowsIPv4, err = b.readFile(ctx, filepath.Join(dir, "asn-ipv4.csv"), "reading ipv4"); err != nil {
		return err
	}
	b.report.RowsIPv6, err = b.readFile(ctx, filepath.Join(dir, "asn-ipv6.csv"), "reading ipv6")
	b.report.Systems = len(b.systems)
	return err
}

const progressEveryRows = 20_000

func (b *builder) readFile(ctx context.Context, path, phase string) (int, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("%w: %w", ErrNoData, err)
	}
	if err != nil {
		return 0, fmt.Errorf("reading the address data: %w", err)
	}
	rows, total := 0, countLines(data)
	err = readASNRows(bytes.NewReader(data), func(row asnRow) error {
		if rows%progressEveryRows == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			b.progress(Progress{Phase: phase, Done: rows, Total: total})
		}
		rows++
		return b.insert(row)
	})
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", filepath.Base(path), err)
	}
	b.progress(Progress{Phase: phase, Done: rows, Total: total})
	return rows, nil
}

func (b *builder) insert(row asnRow) error {
	b.systems[row.asn] = struct{}{}
	record := mmdbtype.Map{
		fieldASN:          mmdbtype.Uint32(row.asn),
		fieldOrganization: mmdbtype.String(row.organization),
	}
	return prefixes(row.start, row.end, func(p netip.Prefix) error {
		if isAliased(p) {
			b.report.Aliased++
			return nil
		}
		raw := p.Addr().AsSlice()
		network := &net.IPNet{IP: raw, Mask: net.CIDRMask(p.Bits(), len(raw)*8)}
		err := b.tree.Insert(network, record)
		var aliased *mmdbwriter.AliasedNetworkError
		var reserved *mmdbwriter.ReservedNetworkError
		switch {
		case errors.As(err, &aliased):
			b.report.Aliased++
		case errors.As(err, &reserved):
			b.report.Reserved++
		case err != nil:
			return fmt.Errorf("inserting %s: %w", p, err)
		default:
			b.report.Networks++
		}
		return nil
	})
}

// isAliased reports whether the file format maps the network onto the IPv4
// tree: Teredo (RFC 4380) and 6to4 (RFC 3056).
func isAliased(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return false
	}
	raw := p.Addr().As16()
	teredo := p.Bits() >= 32 && raw[0] == 0x20 && raw[1] == 0x01 && raw[2] == 0 && raw[3] == 0
	sixToFour := p.Bits() >= 16 && raw[0] == 0x20 && raw[1] == 0x02
	return teredo || sixToFour
}

func (b *builder) write(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.progress(Progress{Phase: "writing"})
	sum := sha256.New()
	err := ReplaceFile(path, func(w io.Writer) error {
		n, err := b.tree.WriteTo(io.MultiWriter(w, sum))
		b.report.Bytes = n
		return err
	}, func(temporary string) error {
		b.progress(Progress{Phase: "checking"})
		reader, err := Open(temporary)
		if err != nil {
			return err
		}
		return reader.Close()
	})
	if err != nil {
		return fmt.Errorf("writing the address database: %w", err)
	}
	b.report.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return writeAttribution(path, b.report)
}

// packageVersion is the version of the data package and the date in it
// ("2.3.2026061719" is 2026-06-17 19:00 UTC).
func packageVersion(dir string) (string, time.Time, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if errors.Is(err, os.ErrNotExist) {
		return "", time.Time{}, fmt.Errorf("%w: %w", ErrNoData, err)
	}
	if err != nil {
		return "", time.Time{}, fmt.Errorf("reading the data package's description: %w", err)
	}
	var description struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(raw, &description); err != nil {
		return "", time.Time{}, fmt.Errorf("reading the data package's description: %w", err)
	}
	parts := strings.Split(description.Version, ".")
	dated, err := time.Parse("2006010215", parts[len(parts)-1])
	if err != nil {
		return "", time.Time{}, fmt.Errorf("the data package's version %q has no date: %w", description.Version, err)
	}
	return description.Version, dated, nil
}
