package geo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// ReplaceFile writes path through a temporary file in its folder: write fills
// it, check (optional) sees it complete, then it takes the name. The folder is
// created. Whoever reads path meanwhile finds the file before.
func ReplaceFile(path string, write func(io.Writer) error, check func(temporary string) error) error {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("creating the folder: %w", err)
	}
	f, err := os.CreateTemp(folder, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("creating a temporary file: %w", err)
	}
	temporary := f.Name()
	err = fill(f, write)
	if err == nil && check != nil {
		err = check(temporary)
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return nil
}

func fill(f *os.File, write func(io.Writer) error) error {
	err := write(f)
	if err == nil {
		// CreateTemp makes the file readable by the owner alone; the workers
		// may run under another user.
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Files names the database files to read: at most one of each layout, and at
// least one that says which autonomous system announces a network. Layouts are
// recognised by the files' metadata, not by their names.
type Files []string

// extension of the database files of a directory.
const extension = ".mmdb"

// FilesIn lists the databases of a directory: every file that ends in ".mmdb".
func FilesIn(dir string) (Files, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing the address databases: %w", err)
	}
	var files Files
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, extension) && !strings.HasPrefix(name, ".") {
			files = append(files, filepath.Join(dir, name))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no address database (*%s): make one with metiva geo build, or put databases there", dir, extension)
	}
	return files, nil
}

// installCountry checks the country database and copies it when asked to. It
// returns the path readers shall use.
func installCountry(cfg BuildConfig) (string, error) {
	reader, err := Open(cfg.CountryFile)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%w: %w", ErrNoData, err)
	}
	if err != nil {
		return "", err
	}
	layout := reader.Layout()
	if err := reader.Close(); err != nil {
		return "", err
	}
	if layout != LayoutCountry && layout != LayoutCountryCode {
		return "", fmt.Errorf("%s has the layout %s, not %s", filepath.Base(cfg.CountryFile), layout, LayoutCountry)
	}
	if cfg.CountryOutFile == "" {
		return cfg.CountryFile, nil
	}
	source, err := os.Open(cfg.CountryFile)
	if err != nil {
		return "", fmt.Errorf("opening the country database: %w", err)
	}
	defer func() { _ = source.Close() }() // opened for reading
	err = ReplaceFile(cfg.CountryOutFile, func(w io.Writer) error {
		_, err := io.Copy(w, source)
		return err
	}, nil)
	if err != nil {
		return "", fmt.Errorf("copying the country database: %w", err)
	}
	return cfg.CountryOutFile, nil
}
