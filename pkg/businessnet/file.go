package businessnet

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	magic       = "MTVBNET1"
	headerBytes = len(magic) + 8 + 4
	keyBytes    = 4
	// fileBytesMax is the file of the largest set.
	fileBytesMax = int64(headerBytes + keyBytes*NetworksMax + sha256.Size)
	// builtMaxSeconds is the end of the year 2100.
	builtMaxSeconds = 4_133_980_799
)

// ErrFormat is wrapped by every refusal of a file's contents.
var ErrFormat = errors.New("not a whole file of business networks, as metiva geo networks writes it")

// Append appends the set's file to dst. Equal sets have equal files.
func (s *Set) Append(dst []byte) []byte {
	begin := len(dst)
	dst = append(dst, magic...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(max(0, s.built.Unix())))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s.keys)))
	for _, k := range s.keys {
		dst = binary.BigEndian.AppendUint32(dst, uint32(k))
	}
	sum := sha256.Sum256(dst[begin:])
	return append(dst, sum[:]...)
}

// Parse reads a file's contents. The error wraps ErrFormat.
func Parse(raw []byte) (*Set, error) {
	if len(raw) < headerBytes+sha256.Size || !bytes.HasPrefix(raw, []byte(magic)) {
		return nil, fmt.Errorf("%w: it is none", ErrFormat)
	}
	rest, sum := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	if want := sha256.Sum256(rest); !bytes.Equal(sum, want[:]) {
		return nil, fmt.Errorf("%w: its checksum is wrong", ErrFormat)
	}
	built := binary.BigEndian.Uint64(rest[len(magic):])
	count := binary.BigEndian.Uint32(rest[len(magic)+8:])
	rest = rest[headerBytes:]
	if built > builtMaxSeconds || uint64(len(rest)) != uint64(count)*keyBytes {
		return nil, fmt.Errorf("%w: its head does not fit the rest", ErrFormat)
	}
	keys := make([]key, count)
	for i := range keys {
		keys[i] = key(binary.BigEndian.Uint32(rest[i*keyBytes:]))
	}
	s, err := newSet(keys, time.Unix(int64(built), 0))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return s, nil
}

// Load reads a file into memory as a whole. It is not mapped: a mapped file that
// is cut short while it is in use ends the process.
func Load(path string) (*Set, error) {
	set, _, err := load(path)
	return set, err
}

// load is Load with what the file was when it was opened.
func load(path string) (*Set, os.FileInfo, error) {
	name := filepath.Base(path)
	// Opening a pipe would wait for its writer, and hold up the end of the process.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the company database %s: %w", name, err)
	}
	defer func() { _ = f.Close() }() // opened for reading
	info, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("opening the company database %s: %w", name, err)
	}
	if !info.Mode().IsRegular() || info.Size() > fileBytesMax {
		return nil, nil, fmt.Errorf("opening the company database %s: %w: it is no file, or has more than %d bytes", name, ErrFormat, fileBytesMax)
	}
	raw, err := io.ReadAll(io.LimitReader(f, fileBytesMax+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the company database %s: %w", name, err)
	}
	set, err := Parse(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the company database %s: %w", name, err)
	}
	return set, info, nil
}
