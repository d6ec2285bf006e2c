package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// place is where everything of one cluster lies.
type place struct {
	root string // <data>/postgres, or what it links to
	data string // the cluster
	run  string // socket and process-id file
	bin  string // initdb and postgres, reachable by the server's user
}

const (
	clusterName     = "postgres"
	credentialsName = "credentials.json"
	// A unix socket's path is at most 107 bytes (sockaddr_un); Postgres also
	// makes a lock file beside it, whose length does not matter.
	socketName     = ".s.PGSQL.5432"
	socketBytesMax = 107
)

func hashOf(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// choosePlace decides where the cluster is, makes the directories, and brings
// the binaries within reach.
func choosePlace(cfg Config, id *identity) (place, error) {
	bin, err := reachableBinaries(cfg, id)
	if err != nil {
		return place{}, err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o755); err != nil { //nolint:gosec // the server's user must pass it
		return place{}, fmt.Errorf("making the data directory: %w", err)
	}
	root, err := clusterRoot(cfg, id)
	if err != nil {
		return place{}, err
	}
	if err := id.owns(filepath.Join(root, "data")); err != nil {
		return place{}, err
	}
	run, err := runDir(cfg, id, root)
	if err != nil {
		return place{}, err
	}
	return place{root: root, data: filepath.Join(root, "data"), run: run, bin: bin}, nil
}

// clusterRoot is <data>/postgres or, when the server's user cannot get there,
// a shared place that <data>/postgres links to.
func clusterRoot(cfg Config, id *identity) (string, error) {
	direct := filepath.Join(cfg.DataDir, clusterName)
	info, err := os.Lstat(direct)
	switch {
	case err == nil && info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(direct)
		if err != nil {
			return "", fmt.Errorf("reading the link to the cluster: %w", err)
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(cfg.DataDir, target)
		}
		return target, makeShared(target)
	case err == nil:
		ok, err := id.reaches(cfg.DataDir)
		if err != nil {
			return "", err
		}
		if ok {
			return direct, makeShared(direct)
		}
		return "", fmt.Errorf("user %s cannot reach %s: open the directories above it, or move the data directory", id.name, direct)
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("looking at the cluster: %w", err)
	}
	reachable, err := id.reaches(cfg.DataDir)
	if err != nil {
		return "", err
	}
	if reachable {
		return direct, makeShared(direct)
	}
	target := filepath.Join(cfg.SharedDir, "postgres-"+hashOf(cfg.DataDir))
	// No link leads to it, so the data directory it belonged to was deleted.
	if err := wipe(target); err != nil {
		return "", fmt.Errorf("wiping the cluster of a deleted data directory: %w", err)
	}
	if err := makeShared(target); err != nil {
		return "", err
	}
	if err := os.Symlink(target, direct); err != nil {
		return "", fmt.Errorf("linking the cluster into the data directory: %w", err)
	}
	return target, nil
}

// makeShared makes a directory others may pass but not list.
func makeShared(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // the server's user must pass it
		return fmt.Errorf("making the directory of the cluster: %w", err)
	}
	if err := os.MkdirAll(dir, 0o711); err != nil { //nolint:gosec // same
		return fmt.Errorf("making the directory of the cluster: %w", err)
	}
	// MkdirAll is subject to the umask.
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // same
		return fmt.Errorf("opening the directory of the cluster: %w", err)
	}
	return nil
}

// wipe ends a server that still runs there and removes the directory.
func wipe(root string) error {
	if err := endLeftOver(filepath.Join(root, "data")); err != nil {
		return err
	}
	return os.RemoveAll(root)
}

// Remove deletes the cluster of a data directory, wherever it lies; no server
// may be running there under supervision. For data directories that are
// temporary: deleting them with the link would leave the cluster behind until
// the next start there.
func Remove(dataDir string) error {
	abs, err := filepath.Abs(dataDir)
	if err != nil {
		return fmt.Errorf("resolving the data directory: %w", err)
	}
	direct := filepath.Join(abs, clusterName)
	root := direct
	if target, err := os.Readlink(direct); err == nil && filepath.IsAbs(target) {
		root = target
	}
	if err := wipe(root); err != nil {
		return fmt.Errorf("removing the cluster: %w", err)
	}
	for _, tmp := range []string{os.TempDir(), shortTempDir} {
		if err := os.RemoveAll(socketDir(tmp, root)); err != nil {
			return fmt.Errorf("removing the socket's directory: %w", err)
		}
	}
	if err := os.Remove(direct); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the link to the cluster: %w", err)
	}
	return nil
}

// runDir is the socket's directory: the configured one or root/run, or, when
// the path is too long for a socket or out of reach, one below the temporary
// directory that is ours alone.
func runDir(cfg Config, id *identity, root string) (string, error) {
	dir := cfg.RunDir
	if dir == "" {
		dir = filepath.Join(root, "run")
	}
	reachable, err := id.reaches(dir)
	if err != nil {
		return "", err
	}
	// A comma separates directories for Postgres and hosts for its clients.
	if !reachable || len(filepath.Join(dir, socketName)) > socketBytesMax || strings.Contains(dir, ",") {
		dir = socketDir(os.TempDir(), root)
		if len(filepath.Join(dir, socketName)) > socketBytesMax {
			dir = socketDir(shortTempDir, root)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the directory of the socket: %w", err)
	}
	// In a directory others may write to, somebody may have been there first.
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("looking at the directory of the socket: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	foreign := !ok || (int(st.Uid) != os.Geteuid() && (id == nil || st.Uid != id.uid))
	if !info.IsDir() || foreign {
		return "", fmt.Errorf("the directory of the socket, %s, belongs to somebody else", dir)
	}
	return dir, id.own(dir)
}

// shortTempDir is for a TMPDIR that is too long itself.
const shortTempDir = "/tmp"

func socketDir(tmp, root string) string { return filepath.Join(tmp, "metiva-"+hashOf(root)) }

// lockCluster makes this process the only one that starts, recovers or removes
// the cluster. The kernel releases the lock when the process ends, however it
// ends.
func lockCluster(root string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(root, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the cluster's lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", root, ErrInUse)
		}
		return nil, fmt.Errorf("locking the cluster: %w", err)
	}
	return f, nil
}

// ErrInUse says that another running process has the cluster.
var ErrInUse = errors.New("another running process uses this Postgres cluster")

// reachableBinaries is cfg.BinDir, or a copy of its package where the server's
// user can read it.
func reachableBinaries(cfg Config, id *identity) (string, error) {
	if !hasBinaries(cfg.BinDir) {
		return "", fmt.Errorf("%s: %w", cfg.BinDir, ErrNoBinaries)
	}
	ok, err := id.reaches(cfg.BinDir)
	if err != nil || ok {
		return cfg.BinDir, err
	}
	info, err := os.Stat(filepath.Join(cfg.BinDir, "postgres"))
	if err != nil {
		return "", fmt.Errorf("looking at the binaries: %w", err)
	}
	// bin stands beside lib and share, which it finds relative to itself.
	from := filepath.Dir(cfg.BinDir)
	to := filepath.Join(cfg.SharedDir, "engines",
		"postgres-"+hashOf(from, info.ModTime().UTC().String(), fmt.Sprint(info.Size())))
	bin := filepath.Join(to, filepath.Base(cfg.BinDir))
	if hasBinaries(bin) {
		return bin, nil
	}
	if err := copyTree(from, to); err != nil {
		return "", fmt.Errorf("copying the Postgres binaries to where user %s can read them: %w", id.name, err)
	}
	return bin, nil
}

// copyTree copies into a directory beside the target and renames it, so that a
// target that exists is whole.
func copyTree(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // the server's user must pass it
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(to), "copy-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return copyEntry(path, filepath.Join(tmp, rel), d)
	}); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil { //nolint:gosec // the server's user must read it
		return err
	}
	err = os.Rename(tmp, to)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) {
		return nil // another starter was faster
	}
	return err
}

func copyEntry(from, to string, d fs.DirEntry) error {
	switch {
	case d.IsDir():
		return os.MkdirAll(to, 0o755) //nolint:gosec // the server's user must read it
	case d.Type()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case filepath.Ext(from) == ".a":
		return nil // static libraries are for linking programs
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm()|0o444)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
