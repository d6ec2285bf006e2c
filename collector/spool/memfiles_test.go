package spool

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"syscall"
)

var (
	errCrashed = errors.New("the machine has crashed")
	errDisk    = errors.New("input/output error")
)

// sectorBytes is what a torn write is torn by; small, so that it happens within
// the small segments of the tests.
const sectorBytes = 16

// memoryDisk is a directory that forgets: after a crash, of what was not synced
// any part may be there, in any order.
type memoryDisk struct {
	mu    sync.Mutex
	rng   *rand.Rand
	names map[string]*memoryData // as the running system sees them
	// synced are the names on disk; changes are those since, in order.
	synced  map[string]*memoryData
	changes []nameChange

	operations int
	crashAt    int // the operation that does not come back; 0: none
	crashed    bool
	faults     func(operation string) error
}

type nameChange struct {
	name string
	data *memoryData // nil: removed
}

// memoryData is a file's content.
type memoryData struct {
	live   []byte
	synced []byte
	// writes since the last fsync that succeeded.
	writes []pendingWrite
}

type pendingWrite struct {
	off      int64
	data     []byte
	truncate bool
}

func newMemoryDisk(rng *rand.Rand) *memoryDisk {
	return &memoryDisk{rng: rng, names: map[string]*memoryData{}, synced: map[string]*memoryData{}}
}

// step counts an operation; the one that crashes may or may not have its effect.
func (d *memoryDisk) step(operation string) (effect bool, err error) {
	if d.crashed {
		return false, errCrashed
	}
	d.operations++
	if d.crashAt > 0 && d.operations >= d.crashAt {
		d.crashed = true
		return d.rng.IntN(2) == 0, errCrashed
	}
	if d.faults != nil {
		if err := d.faults(operation); err != nil {
			return operation == "write" || operation == "sync", err
		}
	}
	return true, nil
}

// reboot is the disk as found after a crash.
func (d *memoryDisk) reboot() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.changes { // metadata may be reordered
		if d.rng.IntN(2) == 0 {
			d.set(d.synced, c)
		}
	}
	d.changes = nil
	d.names = map[string]*memoryData{}
	for name, data := range d.synced {
		data.settle(d.rng)
		d.names[name] = data
	}
	d.crashed, d.crashAt, d.operations, d.faults = false, 0, 0, nil
}

func (d *memoryDisk) set(names map[string]*memoryData, c nameChange) {
	if c.data == nil {
		delete(names, c.name)
	} else {
		names[c.name] = c.data
	}
}

// settle applies any part of what was not synced.
func (f *memoryData) settle(rng *rand.Rand) {
	content := append([]byte(nil), f.synced...)
	mode := rng.IntN(4) // 0: nothing, 1: everything, else: parts
	for _, w := range f.writes {
		if mode == 0 {
			continue
		}
		if w.truncate {
			if mode == 1 || rng.IntN(2) == 0 {
				content = resized(content, w.off)
			}
			continue
		}
		for i := 0; i < len(w.data); {
			n := min(len(w.data)-i, sectorBytes-int(w.off+int64(i))%sectorBytes)
			if mode == 1 || rng.IntN(2) == 0 {
				content = writeInto(content, w.data[i:i+n], w.off+int64(i))
			}
			i += n
		}
	}
	f.live, f.synced, f.writes = content, append([]byte(nil), content...), nil
}

func resized(b []byte, n int64) []byte {
	if int64(len(b)) >= n {
		return b[:n]
	}
	return append(b, make([]byte, n-int64(len(b)))...)
}

func writeInto(b, data []byte, off int64) []byte {
	if int64(len(b)) < off+int64(len(data)) {
		b = resized(b, off+int64(len(data)))
	}
	copy(b[off:], data)
	return b
}

func (d *memoryDisk) create(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	effect, err := d.step("create")
	if effect {
		if d.names[name] != nil {
			return nil, fs.ErrExist
		}
		c := nameChange{name, &memoryData{}}
		d.set(d.names, c)
		d.changes = append(d.changes, c)
	}
	if err != nil {
		return nil, err
	}
	return &memoryFile{d, d.names[name]}, nil
}

func (d *memoryDisk) open(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.step("open"); err != nil {
		return nil, err
	}
	if d.names[name] == nil {
		return nil, fs.ErrNotExist
	}
	return &memoryFile{d, d.names[name]}, nil
}

func (d *memoryDisk) remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	effect, err := d.step("remove")
	if effect {
		if d.names[name] == nil {
			return fs.ErrNotExist
		}
		c := nameChange{name: name}
		d.set(d.names, c)
		d.changes = append(d.changes, c)
	}
	return err
}

func (d *memoryDisk) list() (map[string]int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.step("list"); err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	for name, data := range d.names {
		sizes[name] = int64(len(data.live))
	}
	return sizes, nil
}

func (d *memoryDisk) syncDir() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.step("syncdir"); err != nil {
		return err
	}
	for _, c := range d.changes {
		d.set(d.synced, c)
	}
	d.changes = nil
	return nil
}

func (d *memoryDisk) close() error { return nil }

type memoryFile struct {
	disk *memoryDisk
	data *memoryData
}

func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.crashed {
		return 0, errCrashed
	}
	if off >= int64(len(f.data.live)) {
		return 0, io.EOF
	}
	n := copy(p, f.data.live[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	effect, err := f.disk.step("write")
	n := len(p)
	if err != nil && effect {
		n = f.disk.rng.IntN(len(p) + 1) // a part of it
	}
	if effect {
		f.data.live = writeInto(f.data.live, p[:n], off)
		f.data.writes = append(f.data.writes, pendingWrite{off: off, data: append([]byte(nil), p[:n]...)})
	}
	return n, err
}

func (f *memoryFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	effect, err := f.disk.step("truncate")
	if effect {
		f.data.live = resized(f.data.live, size)
		f.data.writes = append(f.data.writes, pendingWrite{off: size, truncate: true})
	}
	return err
}

// Sync that fails writes any part and forgets the rest: what is in the cache is
// clean from then on, and never reaches the disk.
func (f *memoryFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	effect, err := f.disk.step("sync")
	switch {
	case err == nil:
		for _, w := range f.data.writes {
			if w.truncate {
				f.data.synced = resized(f.data.synced, w.off)
			} else {
				f.data.synced = writeInto(f.data.synced, w.data, w.off)
			}
		}
		f.data.writes = nil
	case effect && !f.disk.crashed:
		live := f.data.live
		f.data.settle(f.disk.rng)
		f.data.live = live
	}
	return err
}

func (f *memoryFile) Close() error { return nil }

// sometimes fails operations at random.
func sometimes(rng *rand.Rand, percent int) func(string) error {
	return func(operation string) error {
		switch operation {
		case "list", "open":
			return nil
		}
		if rng.IntN(100) >= percent {
			return nil
		}
		if operation == "write" && rng.IntN(2) == 0 {
			return syscall.ENOSPC
		}
		return errDisk
	}
}
