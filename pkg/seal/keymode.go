package seal

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// SecretPurposes lists the purposes whose keys may be in an envelope.
func SecretPurposes() []string {
	return slices.DeleteFunc(Purposes(), func(p string) bool { return !isSecret(p) })
}

// FormerKeyFiles lists the files of former keys of a purpose in a key directory,
// "<purpose>.<any name>.key", sorted; none is not an error.
func FormerKeyFiles(dir, purpose string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing former %s keys: %w", purpose, err)
	}
	var out []string
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), purpose+".")
		if name, isKey := strings.CutSuffix(rest, ".key"); ok && isKey && name != "" {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(out)
	return out, nil
}

// isSecret reports whether nobody but the process may read a purpose's file.
func isSecret(purpose string) bool {
	return purpose != PurposeResolverPublic && purpose != PurposeEdgePublic
}

// exposure says in what way a file's permissions leave its key to others: a
// secret that others can read, or any key that others can replace. Empty means
// that they do not. An envelope is no secret: it says nothing without the KMS.
//
// The group may read a file that belongs to root where the process is not root:
// orchestrators hand out secrets like that, and PostgreSQL has the same rule for
// its key.
func exposure(info fs.FileInfo, secret bool, euid int) string {
	mode := info.Mode().Perm()
	if mode&0o022 != 0 {
		return fmt.Sprintf("it can be changed by users other than its owner (mode %04o)", mode)
	}
	forbidden := fs.FileMode(0o044)
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid == 0 && euid != 0 {
		forbidden = 0o004
	}
	if secret && mode&forbidden != 0 {
		return fmt.Sprintf("it can be read by users other than its owner (mode %04o)", mode)
	}
	return ""
}

// Exposed says in what way the permissions of the key's file leave it to other
// users of the machine, and what to do; nil when they do not. Production must
// refuse such a key.
func (m KeyMaterial) Exposed() error {
	if m.exposed == "" {
		return nil
	}
	return fmt.Errorf("%s: run chmod 600 on the file, owned by the user the process runs as, and make a new key if others may have seen this one", m.exposed)
}
