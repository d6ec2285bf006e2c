package metiva

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/seal/kms/kmstest"
)

// command runs metiva and returns what it printed, its error included.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := Run(context.Background(), app.System{Args: args, Stdout: &out, Stderr: &out})
	if err != nil {
		out.WriteString(err.Error())
	}
	if strings.Contains(out.String(), kmstest.Token) {
		t.Errorf("the token is printed: %s", out.String())
	}
	return out.String(), err
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestKeysInEnvelopes(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	with := func(args ...string) []string {
		return append([]string{"keys"}, append(args, "--kms", srv.URI("metiva"), "--kms-token-file", srv.TokenFile, "--kms-ca-file", srv.CAFile)...)
	}
	dir := filepath.Join(t.TempDir(), "keys")
	if out, err := command(t, "keys", "create", "--dir", dir); err != nil {
		t.Fatal(out)
	}
	// A set with plain keys is kept, and said.
	if out, err := command(t, with("create", "--dir", dir)...); err == nil || !strings.Contains(out, "run metiva keys wrap") {
		t.Errorf("got %s", out)
	}
	resolver := filepath.Join(dir, seal.KeyFileName(seal.PurposeResolverPrivate))
	former := filepath.Join(dir, "resolver-private.2025.key")
	if err := os.WriteFile(former, []byte(read(t, resolver)), 0o600); err != nil {
		t.Fatal(err)
	}
	before := read(t, resolver)
	if out, err := command(t, with("wrap", "--dir", dir)...); err != nil || strings.Count(out, "is in an envelope") != 5 {
		t.Fatal(out)
	}
	for _, path := range []string{resolver, former} {
		if content := read(t, path); !strings.HasPrefix(content, "metiva-envelope v1 resolver-private production ") {
			t.Errorf("%s is %s", path, content[:40])
		}
	}
	wrapped := read(t, resolver)
	if out, err := command(t, with("wrap", "--dir", dir)...); err != nil || strings.Count(out, "is an envelope already") != 5 || read(t, resolver) != wrapped {
		t.Error(out)
	}
	srv.Rotate("metiva")
	if out, err := command(t, with("wrap", "--dir", dir, "--again")...); err != nil || read(t, resolver) == wrapped {
		t.Error(out)
	}
	srv.Oldest("metiva", 2)
	out := t.TempDir()
	keys, err := keyFiles(dir, seal.Purposes())
	if err != nil || len(keys) != 7 {
		t.Fatalf("%d files, %v", len(keys), err)
	}
	open := keysOpen{Dir: dir, Out: out, kmsFlags: kmsFlags{URI: srv.URI("metiva"), TokenFile: srv.TokenFile, CAFile: srv.CAFile, Timeout: 1e9}}
	for range 2 { // a second time replaces what is there
		if err := open.write(context.Background(), terminal{&bytes.Buffer{}, &bytes.Buffer{}}); err != nil {
			t.Fatal(err)
		}
		if got := read(t, filepath.Join(out, seal.KeyFileName(seal.PurposeResolverPrivate))); got != before {
			t.Errorf("another key came out: %s", got[:40])
		}
	}
}

func TestKeysCommandsThatAreRefused(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	dir := t.TempDir()
	fresh := filepath.Join(t.TempDir(), "fresh")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no KMS":       {[]string{"wrap", "--dir", dir}, "METIVA_KMS_URI is missing"},
		"no keys":      {[]string{"wrap", "--dir", dir, "--kms", srv.URI("metiva"), "--kms-token-file", srv.TokenFile, "--kms-ca-file", srv.CAFile}, "there are no secret keys"},
		"no token":     {[]string{"create", "--dir", fresh, "--kms", srv.URI("metiva"), "--kms-ca-file", srv.CAFile}, "token is missing"},
		"no such key":  {[]string{"create", "--dir", fresh, "--kms", srv.URI("absent"), "--kms-token-file", srv.TokenFile, "--kms-ca-file", srv.CAFile}, "check the mount and the key's name"},
		"untrusted":    {[]string{"create", "--dir", fresh, "--kms", srv.URI("metiva"), "--kms-token-file", srv.TokenFile}, "METIVA_KMS_CA_FILE"},
		"not a memory": {[]string{"open", "--dir", dir, "--out", "/proc"}, "/proc is on a disk"},
		"not there":    {[]string{"open", "--dir", dir, "--out", "/nowhere"}, "no such file"},
	} {
		if out, err := command(t, append([]string{"keys"}, c.args...)...); err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: got %q, want %q", name, out, c.want)
		}
	}
	if entries, err := filepath.Glob(fresh + "/*private*"); err != nil || len(entries) != 0 {
		t.Errorf("a refused command left %v, %v", entries, err)
	}
	// Over the envelopes themselves.
	open := keysOpen{Dir: dir, Out: dir + "/."}
	if err := open.write(context.Background(), terminal{&bytes.Buffer{}, &bytes.Buffer{}}); err == nil || !strings.Contains(err.Error(), "the same directory") {
		t.Errorf("got %v", err)
	}
}

// TestWhatIsMemory asks every file system that is mounted here.
func TestWhatIsMemory(t *testing.T) {
	t.Parallel()
	kinds := map[string]string{}
	for line := range strings.Lines(read(t, "/proc/self/mounts")) {
		fields := strings.Fields(line)
		kinds[fields[1]] = fields[2] // the last one mounted on a path is the one seen
	}
	for path, kind := range kinds {
		err := inMemory(path)
		if err != nil && !strings.Contains(err.Error(), "is on a disk") {
			continue // not to be seen by this user
		}
		switch kind {
		case "tmpfs", "ramfs":
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
		case "ext4", "xfs", "btrfs", "overlay", "proc", "sysfs", "zfs":
			if err == nil {
				t.Errorf("%s on %s passes for memory", path, kind)
			}
		}
	}
}
