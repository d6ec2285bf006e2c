package geo

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// recordSlots bounds the decoded records a reader keeps: a power of two. They
// are keyed by their offset in the file, never by an address.
const recordSlots = 1 << 14

type slot struct {
	offset uintptr
	facts  facts
}

// Reader is one open database file. Its methods are safe for concurrent use;
// Close must wait for them (Databases does that).
type Reader struct {
	file   string
	db     *maxminddb.Reader
	layout Layout
	// buildMs is the build time, Unix milliseconds.
	buildMs int64
	slots   []atomic.Pointer[slot]
}

// Open maps a database file and recognises its layout.
func Open(path string) (*Reader, error) {
	db, err := maxminddb.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the address database %s: %w", filepath.Base(path), err)
	}
	return newReader(path, db)
}

func newReader(path string, db *maxminddb.Reader) (*Reader, error) {
	r := &Reader{
		file:    path,
		db:      db,
		layout:  layoutOf(db.Metadata.DatabaseType),
		buildMs: db.Metadata.BuildTime().UnixMilli(),
		slots:   make([]atomic.Pointer[slot], recordSlots),
	}
	if r.layout == LayoutUnknown {
		_ = db.Close() // read-only mapping; the layout is the error to report
		return nil, fmt.Errorf("the address database %s is of type %q, which is not one this version reads", filepath.Base(path), db.Metadata.DatabaseType)
	}
	return r, nil
}

// Layout is the layout of the file's records.
func (r *Reader) Layout() Layout { return r.layout }

// File is the path of the file.
func (r *Reader) File() string { return r.file }

// IPVersion is 4 for a database of IPv4 alone, else 6.
func (r *Reader) IPVersion() int { return int(r.db.Metadata.IPVersion) }

// BuildTime is when the database was built, in UTC.
func (r *Reader) BuildTime() time.Time { return r.db.Metadata.BuildTime().UTC() }

// DatabaseType is the type the file's metadata names.
func (r *Reader) DatabaseType() string { return r.db.Metadata.DatabaseType }

// Verify reads the whole file and reports damage. It takes a second or so.
func (r *Reader) Verify() error {
	if err := r.db.Verify(); err != nil {
		return fmt.Errorf("verifying the address database %s: %w", filepath.Base(r.file), err)
	}
	return nil
}

// Close unmaps the file.
func (r *Reader) Close() error {
	if err := r.db.Close(); err != nil {
		return fmt.Errorf("closing the address database %s: %w", filepath.Base(r.file), err)
	}
	return nil
}

// lookup returns the record of the network that holds the address, and that
// network's length in the address's own family. Without a record, bits is the
// length of the empty network.
func (r *Reader) lookup(addr netip.Addr) (rec *facts, bits int, err error) {
	if r.db.Metadata.IPVersion == 4 && !addr.Is4() {
		return nil, 0, nil
	}
	result := r.db.Lookup(addr)
	if err := result.Err(); err != nil {
		return nil, 0, fmt.Errorf("looking up in the address database: %w", errNoAddress)
	}
	matched := result.Prefix()
	bits = matched.Bits()
	if addr.Is4() && !matched.Addr().Is4() {
		bits = 0 // an empty network shorter than the IPv4 root
	}
	if !result.Found() {
		return nil, bits, nil
	}
	offset := result.Offset()
	// Fibonacci hashing: offsets are near one another.
	at := &r.slots[(uint64(offset)*0x9e3779b97f4a7c15)>>(64-14)]
	if s := at.Load(); s != nil && s.offset == offset {
		return &s.facts, bits, nil
	}
	decoded, err := decode(r.layout, result)
	if err != nil {
		return nil, 0, fmt.Errorf("decoding a record of the address database: %w", errNoAddress)
	}
	fresh := &slot{offset: offset, facts: decoded}
	at.Store(fresh)
	return &fresh.facts, bits, nil
}
