package geo

import (
	"fmt"
	"net/netip"
	"os"
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
	// tree finds IPv4 networks; nil: db does.
	tree  *tree
	slots []atomic.Pointer[slot]
}

// Open reads a database file into memory as a whole and recognises its layout. It is not
// mapped: a mapped file that is cut short under its readers ends the process, and one that
// is written over answers with what nobody has checked.
func Open(path string) (*Reader, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("opening the address database %s: %w", filepath.Base(path), err)
	}
	return newReader(path, file)
}

func newReader(path string, file []byte) (*Reader, error) {
	db, err := maxminddb.OpenBytes(file)
	if err != nil {
		return nil, fmt.Errorf("opening the address database %s: %w", filepath.Base(path), err)
	}
	r := &Reader{
		file:    path,
		db:      db,
		layout:  layoutOf(db.Metadata.DatabaseType),
		buildMs: db.Metadata.BuildTime().UnixMilli(),
		tree:    newTree(file, &db.Metadata),
		slots:   make([]atomic.Pointer[slot], recordSlots),
	}
	if r.layout == LayoutUnknown {
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

// Close gives the file's memory up.
func (r *Reader) Close() error {
	r.tree = nil
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
	if t := r.tree; t != nil && addr.Is4() {
		if offset, bits, found, ok := t.find(addr); ok {
			if !found {
				return nil, bits, nil
			}
			rec, err := r.record(offset)
			return rec, bits, err
		}
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
	rec, err = r.record(result.Offset())
	return rec, bits, err
}

// record is what stands at an offset of the data.
func (r *Reader) record(offset uintptr) (*facts, error) {
	// Fibonacci hashing: offsets are near one another.
	at := &r.slots[(uint64(offset)*0x9e3779b97f4a7c15)>>(64-14)]
	if s := at.Load(); s != nil && s.offset == offset {
		return &s.facts, nil
	}
	decoded, err := decode(r.layout, r.db.LookupOffset(offset))
	if err != nil {
		return nil, fmt.Errorf("decoding a record of the address database: %w", errNoAddress)
	}
	fresh := &slot{offset: offset, facts: decoded}
	at.Store(fresh)
	return &fresh.facts, nil
}
