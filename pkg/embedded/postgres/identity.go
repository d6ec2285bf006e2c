package postgres

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// identity is the user the server runs as; nil means our own.
type identity struct {
	name string
	uid  uint32
	gid  uint32
}

// serverIdentity is nil for an ordinary user; as root it is postgres, else
// nobody.
func serverIdentity() (*identity, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // our own identity
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if errUID != nil || errGID != nil || uid == 0 {
			continue
		}
		return &identity{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil, errors.New("postgres does not run as root, and there is no user postgres or nobody to run it as")
}

func (id *identity) credential() *syscall.Credential {
	if id == nil {
		return nil
	}
	return &syscall.Credential{Uid: id.uid, Gid: id.gid}
}

// own gives path to the server's user.
func (id *identity) own(path string) error {
	if id == nil {
		return nil
	}
	if err := os.Lchown(path, int(id.uid), int(id.gid)); err != nil {
		return fmt.Errorf("giving a directory to user %s: %w", id.name, err)
	}
	return nil
}

// owns refuses a cluster that another user made: Postgres would, and less
// clearly. One that does not exist yet is nobody's.
func (id *identity) owns(data string) error {
	info, err := os.Stat(data)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at the cluster: %w", err)
	}
	ours := os.Geteuid()
	if id != nil {
		ours = int(id.uid)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != ours {
		return fmt.Errorf("the cluster in %s was made by another user: run metiva as that user, or use another data directory", data)
	}
	return nil
}

// reaches reports whether the server's user may go into dir: every directory
// on the way, links resolved, lets it pass. A directory that does not exist yet
// is judged by the nearest that does.
func (id *identity) reaches(dir string) (bool, error) {
	if id == nil {
		return true, nil
	}
	for {
		resolved, err := filepath.EvalSymlinks(dir)
		if err == nil {
			dir = resolved
			break
		}
		if !errors.Is(err, os.ErrNotExist) {
			return false, fmt.Errorf("resolving a directory: %w", err)
		}
		dir = filepath.Dir(dir)
	}
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return false, fmt.Errorf("looking at a directory: %w", err)
		}
		if !id.passes(info) {
			return false, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true, nil
		}
		dir = parent
	}
}

// passes reports whether the directory's mode lets the user through.
func (id *identity) passes(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	switch mode := info.Mode().Perm(); {
	case st.Uid == id.uid:
		return mode&0o100 != 0
	case st.Gid == id.gid:
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}
