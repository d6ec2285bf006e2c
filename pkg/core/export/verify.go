package export

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/metiva-io/metiva/pkg/core/analytics"
)

var (
	// ErrNotWhole is returned for a directory without a manifest: an export that did
	// not come to its end, or none.
	ErrNotWhole = errors.New("the directory has no manifest: it is no whole export")
	// ErrChanged is wrapped by every difference from the manifest.
	ErrChanged = errors.New("the export is not what its manifest says")
)

// manifestBytesMax bounds what is read as a manifest.
const manifestBytesMax = 16 << 20

// Verify compares a directory with its manifest: that there is one, that each file has
// the bytes, the SHA-256 and the rows it names, and that there is no other. It returns
// the manifest with all differences joined. It says nothing about who wrote it: keep
// the manifest's SHA-256, which Sum gives, where the export does not go.
func Verify(path string) (Manifest, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return Manifest{}, fmt.Errorf("opening the export: %w", err)
	}
	defer func() { _ = root.Close() }()
	m, err := readManifest(root)
	if err != nil {
		return Manifest{}, err
	}
	names, err := listNames(root)
	if err != nil {
		return Manifest{}, fmt.Errorf("looking into the export: %w", err)
	}
	var faults []error
	known := []string{ManifestName}
	for _, file := range m.Files {
		if slices.Contains(known, file.Name) {
			faults = append(faults, fmt.Errorf("%w: %q is named twice", ErrChanged, file.Name))
			continue
		}
		known = append(known, file.Name)
		if err := verifyFile(root, file, m.Format); err != nil {
			faults = append(faults, fmt.Errorf("%q: %w", file.Name, err))
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if !slices.Contains(known, name) {
			faults = append(faults, fmt.Errorf("%w: %q is not in it", ErrChanged, name))
		}
	}
	return m, errors.Join(faults...)
}

// Sum is the SHA-256 of the manifest, in lower-case hexadecimal. It stands for the
// whole export.
func Sum(path string) (string, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return "", fmt.Errorf("opening the export: %w", err)
	}
	defer func() { _ = root.Close() }()
	raw, err := manifestBytes(root)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

func manifestBytes(root *os.Root) ([]byte, error) {
	is, err := root.Lstat(ManifestName)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNotWhole
	}
	if err != nil {
		return nil, fmt.Errorf("looking at the manifest: %w", err)
	}
	if !is.Mode().IsRegular() { // a pipe would be waited for
		return nil, fmt.Errorf("%w: %s is no plain file", ErrChanged, ManifestName)
	}
	f, err := root.Open(ManifestName)
	if err != nil {
		return nil, fmt.Errorf("opening the manifest: %w", err)
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, manifestBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	if len(raw) > manifestBytesMax {
		return nil, fmt.Errorf("the manifest is longer than %d bytes", manifestBytesMax)
	}
	return raw, nil
}

func readManifest(root *os.Root) (Manifest, error) {
	raw, err := manifestBytes(root)
	if err != nil {
		return Manifest{}, err
	}
	return parseManifest(raw)
}

// parseManifest takes a manifest of this format's version whose files have plain names.
func parseManifest(raw []byte) (Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return Manifest{}, fmt.Errorf("reading the manifest: %w", err)
	}
	if m.FormatVersion != FormatVersion {
		return Manifest{}, fmt.Errorf("the manifest is of version %d, and this release reads %d", m.FormatVersion, FormatVersion)
	}
	if !slices.Contains(analytics.ExportFormats(), m.Format) {
		return Manifest{}, errors.New("the manifest names a format that is none")
	}
	for _, file := range m.Files {
		if file.Name == "" || file.Name == "." || file.Name == ManifestName || strings.ContainsAny(file.Name, `/\`) || !filepath.IsLocal(file.Name) {
			return Manifest{}, fmt.Errorf("the manifest names a file that is none of an export: %q", file.Name)
		}
	}
	return m, nil
}

func verifyFile(root *os.Root, file File, format analytics.ExportFormat) error {
	info, err := root.Lstat(file.Name)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: it is missing", ErrChanged)
	}
	if err != nil {
		return fmt.Errorf("looking at a file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: it is no plain file", ErrChanged)
	}
	if info.Size() != file.Bytes {
		return fmt.Errorf("%w: %d bytes instead of %d", ErrChanged, info.Size(), file.Bytes)
	}
	f, err := root.Open(file.Name)
	if err != nil {
		return fmt.Errorf("opening a file: %w", err)
	}
	defer func() { _ = f.Close() }()
	var count counter
	if file.Table != "" {
		count = newCounter(format)
	}
	read := &sums{to: io.Discard, count: count, hash: sha256.New()}
	if _, err := io.CopyBuffer(read, struct{ io.Reader }{f}, make([]byte, copyBytes)); err != nil {
		return fmt.Errorf("reading a file: %w", err)
	}
	if sum := hex.EncodeToString(read.hash.Sum(nil)); sum != file.SHA256 {
		return fmt.Errorf("%w: its SHA-256 is another", ErrChanged)
	}
	if count == nil {
		return nil
	}
	rows, err := count.rows(f, read.bytes)
	if err != nil {
		return err
	}
	if rows != file.Rows {
		return fmt.Errorf("%w: %d rows instead of %d", ErrChanged, rows, file.Rows)
	}
	return nil
}
