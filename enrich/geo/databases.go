package geo

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Names of the databases in a directory that Build wrote and a worker reads.
const (
	FileASN     = "asn.mmdb"
	FileCountry = "country.mmdb"
)

// Files names the database files to read.
type Files struct {
	ASN string
	// Country is optional; without it Answer.Country is empty.
	Country string
}

// Validate reports every fault of the configuration.
func (f Files) Validate() error {
	if f.ASN == "" {
		return errors.New("geo: the ASN database file is not set")
	}
	return nil
}

// errNoAddress replaces the driver's errors, whose text may hold the address
// that was looked up.
var errNoAddress = errors.New("damaged database")

// Outcome is what a lookup found.
type Outcome uint8

// The outcomes of a lookup.
const (
	// OutcomeNotFound: no record for the whole of the queried network.
	OutcomeNotFound Outcome = iota
	// OutcomeFound: one record covers the whole of the queried network.
	OutcomeFound
	// OutcomeAmbiguous: the matched network is longer than the queried one.
	OutcomeAmbiguous
)

// Answer is what the databases know of a network. ASN and Organization are
// set only when Outcome is OutcomeFound.
type Answer struct {
	Outcome      Outcome
	ASN          uint32
	Organization string
	// Country is ISO 3166-1 alpha-2, or empty when it is unknown or differs
	// within the queried network.
	Country string
	// Bits is the length of the matched network in the queried family.
	Bits int
	// Build is the build time of the ASN database.
	Build time.Time
}

// Databases is the set of open databases, replaced as a whole. It is safe for
// concurrent use.
type Databases struct {
	current atomic.Pointer[generation]
	swap    sync.Mutex
}

// generation is one set of readers. refs counts the views that use it, and
// one for being current; the files are unmapped when it falls to zero.
type generation struct {
	asn, country *Reader
	refs         atomic.Int64
	closed       chan struct{}
	closeErr     error
}

// OpenDatabases opens the files. Close them with Close.
func OpenDatabases(files Files) (*Databases, error) {
	g, err := openGeneration(files)
	if err != nil {
		return nil, err
	}
	d := &Databases{}
	d.current.Store(g)
	return d, nil
}

func openGeneration(files Files) (*generation, error) {
	if err := files.Validate(); err != nil {
		return nil, err
	}
	asn, err := openLayout(files.ASN, LayoutASN)
	if err != nil {
		return nil, err
	}
	g := &generation{asn: asn, closed: make(chan struct{})}
	if files.Country != "" {
		if g.country, err = openLayout(files.Country, LayoutCountry); err != nil {
			return nil, errors.Join(err, asn.Close())
		}
	}
	g.refs.Store(1)
	return g, nil
}

func openLayout(path string, want Layout) (*Reader, error) {
	r, err := Open(path)
	if err != nil {
		return nil, err
	}
	if r.Layout() != want {
		return nil, errors.Join(fmt.Errorf("the database of type %q has the layout %s, not %s", r.DatabaseType(), r.Layout(), want), r.Close())
	}
	return r, nil
}

// Swap opens files and makes them current. On an error the current ones stay.
// Views taken before keep the old files open until they are released.
func (d *Databases) Swap(files Files) error {
	d.swap.Lock()
	defer d.swap.Unlock()
	if d.current.Load() == nil {
		return errClosed
	}
	next, err := openGeneration(files)
	if err != nil {
		return err
	}
	d.current.Swap(next).release()
	return nil
}

var errClosed = errors.New("address databases are closed")

// Close gives the current files up and waits until the last view is released.
func (d *Databases) Close() error {
	d.swap.Lock()
	g := d.current.Swap(nil)
	d.swap.Unlock()
	if g == nil {
		return nil
	}
	g.release()
	<-g.closed
	return g.closeErr
}

func (g *generation) release() {
	if g.refs.Add(-1) != 0 {
		return
	}
	g.closeErr = g.asn.Close()
	if g.country != nil {
		g.closeErr = errors.Join(g.closeErr, g.country.Close())
	}
	close(g.closed)
}

// View is one set of databases, held open. Take one per batch and release it:
// all events of the batch are then answered by the same build.
type View struct {
	g     *generation
	build time.Time
}

// View takes the current databases. It fails after Close.
func (d *Databases) View() (View, error) {
	for {
		g := d.current.Load()
		if g == nil {
			return View{}, errClosed
		}
		// A generation at zero is being unmapped and must not be revived.
		for refs := g.refs.Load(); refs > 0; refs = g.refs.Load() {
			if g.refs.CompareAndSwap(refs, refs+1) {
				return View{g: g, build: g.asn.BuildTime()}, nil
			}
		}
	}
}

// Release gives the view back. It must be called exactly once.
func (v View) Release() { v.g.release() }

// BuildTime is the build time of the ASN database.
func (v View) BuildTime() time.Time { return v.build }

// LookupAddr is Lookup for a single, whole address.
func (v View) LookupAddr(addr netip.Addr) (Answer, error) {
	addr = addr.Unmap().WithZone("")
	return v.Lookup(netip.PrefixFrom(addr, addr.BitLen()))
}

// Lookup asks the databases for a network, usually a truncated address. An
// IPv4-mapped network is looked up as IPv4. Errors never contain the network.
func (v View) Lookup(network netip.Prefix) (Answer, error) {
	network = Unmap(network)
	answer := Answer{Build: v.build}
	if !network.IsValid() {
		return answer, errors.New("looking up an invalid network")
	}
	if isAliased(network) {
		// The file maps these onto the IPv4 tree; the answer would be of an
		// unrelated IPv4 network.
		return answer, nil
	}
	rec, bits, err := v.g.asn.lookup(network.Addr())
	if err != nil {
		return answer, err
	}
	answer.Bits = bits
	switch {
	case bits > network.Bits():
		answer.Outcome = OutcomeAmbiguous
	case rec != nil && rec.ASN != 0:
		answer.Outcome = OutcomeFound
		answer.ASN, answer.Organization = rec.ASN, rec.Organization
	}
	if v.g.country == nil {
		return answer, nil
	}
	rec, bits, err = v.g.country.lookup(network.Addr())
	if err != nil {
		return answer, err
	}
	if rec != nil && bits <= network.Bits() && isCountryCode(rec.CountryCode) {
		answer.Country = rec.CountryCode
	}
	return answer, nil
}

// Unmap turns an IPv4-mapped network (::ffff:a.b.c.d/96+n) into the IPv4
// network, cuts host bits off, and leaves others as they are.
func Unmap(network netip.Prefix) netip.Prefix {
	if network.Addr().Is4In6() {
		if network.Bits() < 96 {
			return netip.Prefix{}
		}
		network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
	}
	return network.Masked()
}

// isCountryCode holds back placeholders such as "None" and "ZZ".
func isCountryCode(code string) bool {
	if len(code) != 2 || code == "ZZ" {
		return false
	}
	return code[0] >= 'A' && code[0] <= 'Z' && code[1] >= 'A' && code[1] <= 'Z'
}
