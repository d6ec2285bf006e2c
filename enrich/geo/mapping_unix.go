//go:build unix

package geo

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// mapFile gives the bytes of a file: of the page cache where the file system can do it,
// else in memory. They must not be used after release.
func mapFile(path string) (data []byte, release func() error, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // says what and which
	}
	defer func() { _ = f.Close() }() // read only
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // says what and which
	}
	if info.Size() == 0 {
		return nil, nil, io.ErrUnexpectedEOF
	}
	data, err = syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err == nil {
		return data, func() error { return syscall.Munmap(data) }, nil
	}
	if data, err = io.ReadAll(f); err != nil {
		return nil, nil, fmt.Errorf("reading the file: %w", err)
	}
	return data, func() error { return nil }, nil
}
