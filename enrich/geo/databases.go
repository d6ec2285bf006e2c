package geo

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Names of the databases in a directory that Build wrote and a worker reads.
const (
	FileASN     = "asn.mmdb"
	FileCountry = "country.mmdb"
)

// errNoAddress replaces the driver's errors, whose text may hold the address
// that was looked up.
var errNoAddress = errors.New("damaged database")

// Databases is the set of open databases, replaced as a whole. It is safe for
// concurrent use.
type Databases struct {
	current atomic.Pointer[generation]
	swap    sync.Mutex
}

// generation is one set of readers. refs counts the views that use it, and
// one for being current; the readers are closed when it falls to zero.
type generation struct {
	// all are in the order of their layouts; the others are parts of it.
	all, systems, companies, anonymities, lines, countries []*Reader
	domain                                                 *Reader

	refs     atomic.Int64
	closed   chan struct{}
	closeErr error
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
	g := &generation{closed: make(chan struct{})}
	for _, file := range files {
		r, err := Open(file)
		if err != nil {
			return nil, errors.Join(err, g.closeAll())
		}
		g.all = append(g.all, r)
	}
	slices.SortFunc(g.all, func(a, b *Reader) int { return int(a.layout) - int(b.layout) })
	for i, r := range g.all {
		if i > 0 && g.all[i-1].layout == r.layout {
			err := fmt.Errorf("the address databases %s and %s are of the same layout (%s): one of them must go",
				filepath.Base(g.all[i-1].file), filepath.Base(r.file), r.layout)
			return nil, errors.Join(err, g.closeAll())
		}
		g.assign(r)
	}
	if len(g.systems) == 0 {
		return nil, errors.Join(errors.New("none of the address databases says which autonomous system announces an address"), g.closeAll())
	}
	g.refs.Store(1)
	return g, nil
}

// assign notes what the database is asked for.
func (g *generation) assign(r *Reader) {
	if r.layout.system() {
		g.systems = append(g.systems, r)
	}
	if r.layout.names() {
		g.companies = append(g.companies, r)
	}
	switch r.layout {
	case LayoutEnterprise:
		g.anonymities, g.lines, g.countries = append(g.anonymities, r), append(g.lines, r), append(g.countries, r)
	case LayoutIPinfoCompany:
		g.anonymities = append(g.anonymities, r) // its hosting networks
		g.countries = append(g.countries, r)
	case LayoutISP, LayoutConnection:
		g.lines = append(g.lines, r)
	case LayoutAnonymous, LayoutIPinfoPrivacy:
		g.anonymities = append(g.anonymities, r)
	case LayoutDomain:
		g.domain = r
	case LayoutIPinfoLite, LayoutCountry, LayoutCountryCode:
		g.countries = append(g.countries, r)
	default:
	}
}

func (g *generation) closeAll() error {
	var faults []error
	for _, r := range g.all {
		faults = append(faults, r.Close())
	}
	return errors.Join(faults...)
}

// Swap opens files and makes them current. On an error the current ones stay.
// Views taken before keep the old ones open until they are released.
func (d *Databases) Swap(files Files) error { return d.SwapChecked(files, nil) }

// SwapChecked is Swap, but check (optional) sees the new databases before they are
// current, and may refuse them. It must not release its view.
func (d *Databases) SwapChecked(files Files, check func(View) error) error {
	d.swap.Lock()
	defer d.swap.Unlock()
	if d.current.Load() == nil {
		return errClosed
	}
	next, err := openGeneration(files)
	if err != nil {
		return err
	}
	if check != nil {
		if err := check(View{g: next, build: next.systems[0].BuildTime()}); err != nil {
			next.release()
			return errors.Join(err, next.closeErr)
		}
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
	g.closeErr = g.closeAll()
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
		// A generation at zero is being closed and must not be revived.
		for refs := g.refs.Load(); refs > 0; refs = g.refs.Load() {
			if g.refs.CompareAndSwap(refs, refs+1) {
				return View{g: g, build: g.systems[0].BuildTime()}, nil
			}
		}
	}
}

// Release gives the view back. It must be called exactly once.
func (v View) Release() { v.g.release() }

// BuildTime is the build time of the database of autonomous systems.
func (v View) BuildTime() time.Time { return v.build }

// Readers are the open databases, in the order of their layouts.
func (v View) Readers() []*Reader { return v.g.all }
