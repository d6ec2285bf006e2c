package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"
)

// files is the directory of a spool. Tests put one beneath that loses and tears
// what was not synced.
type files interface {
	// create makes a new file.
	create(name string) (file, error)
	// open opens an existing file, for writing too.
	open(name string) (file, error)
	remove(name string) error
	// list gives name and size of every plain file.
	list() (map[string]int64, error)
	// syncDir makes what was created and removed durable.
	syncDir() error
	// close gives the lock back.
	close() error
}

type file interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

const lockName = "lock"

// A process that is just ending, or one that looks for abandoned spools, has the
// lock for a moment.
const (
	lockTries = 10
	lockPause = 50 * time.Millisecond
)

// directory is the files of a real directory.
type directory struct {
	root *os.Root
	lock *os.File
}

// openDirectory creates the directory if it is missing and takes its lock.
func openDirectory(path string) (*directory, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("creating the spool directory: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("opening the spool directory: %w", err)
	}
	d := &directory{root: root}
	if err := d.claim(); err != nil {
		_ = root.Close()
		return nil, err
	}
	return d, nil
}

func (d *directory) claim() error {
	if err := d.root.Chmod(".", 0o700); err != nil {
		return fmt.Errorf("closing the spool directory to others: %w", err)
	}
	lock, err := d.root.OpenFile(lockName, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("opening the spool's lock: %w", err)
	}
	for range lockTries {
		if err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil || !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		time.Sleep(lockPause)
	}
	if err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return ErrLocked
		}
		return fmt.Errorf("locking the spool: %w", err)
	}
	d.lock = lock
	return nil
}

func (d *directory) create(name string) (file, error) {
	return asFile(d.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600))
}

func (d *directory) open(name string) (file, error) {
	return asFile(d.root.OpenFile(name, os.O_RDWR, 0o600))
}

// asFile keeps a nil *os.File from becoming a file that is not nil.
func asFile(f *os.File, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d *directory) remove(name string) error { return d.root.Remove(name) }

func (d *directory) list() (map[string]int64, error) {
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return nil, err
	}
	sizes := make(map[string]int64, len(entries))
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		sizes[e.Name()] = info.Size()
	}
	return sizes, nil
}

func (d *directory) syncDir() error {
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d *directory) close() error {
	return errors.Join(d.lock.Close(), d.root.Close())
}

// Abandoned names the spools in the directories of a folder that hold records and
// that no process uses. Those in use are left out, ours with them.
func Abandoned(parent string) ([]string, error) {
	root, err := os.OpenRoot(parent)
	if err != nil {
		return nil, fmt.Errorf("opening the folder of the spools: %w", err)
	}
	defer func() { _ = root.Close() }()
	found, err := fs.Glob(root.FS(), "*/*.seg")
	if err != nil {
		return nil, fmt.Errorf("reading the folder of the spools: %w", err)
	}
	var names []string
	for _, file := range found {
		name := path.Dir(file)
		if len(names) > 0 && names[len(names)-1] == name {
			continue
		}
		lock, err := root.OpenFile(path.Join(name, lockName), os.O_RDWR, 0o600)
		if err != nil {
			continue // another user's
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			names = append(names, name)
		}
		_ = lock.Close()
	}
	return names, nil
}
