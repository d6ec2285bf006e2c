package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	embedded "github.com/metiva-io/metiva/pkg/embedded/postgres"
	"github.com/metiva-io/metiva/pkg/waittest"
	schema "github.com/metiva-io/metiva/schemas/postgres"
)

func itoa(n int) string { return strconv.Itoa(n) }

const (
	makeTable  = `CREATE TABLE IF NOT EXISTS keep (n int); INSERT INTO keep VALUES (1)`
	checkTable = `DO $$ BEGIN IF (SELECT count(*) FROM keep) <> 1 THEN RAISE EXCEPTION 'the row is gone'; END IF; END $$`
)

func TestStartsWithRolesAndStopsQuickly(t *testing.T) {
	t.Parallel()
	data := openDir(t)
	began := time.Now()
	s, err := embedded.New(config(t, data), quiet)
	must(t, err)
	made := time.Since(began)
	if _, err := embedded.New(config(t, data), quiet); !errors.Is(err, embedded.ErrInUse) {
		t.Errorf("a second server on the cluster: %v", err)
	}
	began = time.Now()
	stop := serve(t, s)
	t.Logf("making the cluster %s, start %s", made.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	for _, role := range append(schema.LoginRoles(), embedded.RoleAdmin) {
		if err := run(t, s, role, `SELECT 1`); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
	must(t, run(t, s, embedded.RoleAdmin, `DO $$ BEGIN
		IF current_setting('fsync') <> 'on' THEN RAISE EXCEPTION 'fsync is off'; END IF;
		IF current_setting('listen_addresses') <> '' THEN RAISE EXCEPTION 'listens on TCP'; END IF;
		IF EXISTS (SELECT FROM pg_authid WHERE rolcanlogin AND rolpassword NOT LIKE 'SCRAM-SHA-256$%') THEN RAISE EXCEPTION 'a password is not scram'; END IF;
		IF EXISTS (SELECT FROM pg_authid WHERE rolcanlogin AND rolpassword IS NULL) THEN RAISE EXCEPTION 'a login without a password'; END IF;
		IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'app_rw' AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb)) THEN RAISE EXCEPTION 'app_rw can too much'; END IF;
	END $$`))
	wrong, err := url.Parse(s.URL(schema.RoleRW).Reveal())
	must(t, err)
	if password, _ := wrong.User.Password(); len(password) < 20 || strings.Contains(fmt.Sprintf("%v %+v", s.URL(schema.RoleRW), s), password) {
		t.Error("the password is short, or prints")
	}
	info, err := os.Stat(filepath.Join(data, "postgres", "credentials.json"))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the passwords' file has mode %v", info.Mode())
	}
	pid := s.PID()
	began = time.Now()
	stop()
	if took := time.Since(began); took > 3*time.Second || alive(pid) {
		t.Errorf("stop took %s, alive %v", took, alive(pid))
	}
}

func TestRestartsAfterACrashWithItsData(t *testing.T) {
	t.Parallel()
	s, _ := start(t, config(t, openDir(t)))
	must(t, run(t, s, embedded.RoleAdmin, makeTable))
	first := s.PID()
	kill(t, first)
	waittest.Until(t, 20*time.Second, "the server to answer again", func() bool {
		return s.PID() != first && s.PID() != 0 && run(t, s, embedded.RoleAdmin, `SELECT 1`) == nil
	})
	must(t, run(t, s, embedded.RoleAdmin, checkTable))
}

// TestTakesOverFromAKilledRun starts a server nobody supervises, in the middle
// of a query, as a SIGKILL of the whole product would leave it; once with the
// server alive, once with only its backends and a stale process-id file.
func TestTakesOverFromAKilledRun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		killServer bool
	}{{"server alive", false}, {"server dead", true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			data := openDir(t)
			cfg := config(t, data)
			s, stop := start(t, cfg)
			must(t, run(t, s, embedded.RoleAdmin, makeTable))
			args, err := os.ReadFile(filepath.Join("/proc", itoa(s.PID()), "cmdline"))
			must(t, err)
			info, err := os.Stat(filepath.Join("/proc", itoa(s.PID())))
			must(t, err)
			owner := info.Sys().(*syscall.Stat_t) //nolint:forcetypeassert // Linux
			stop()

			argv := strings.Split(strings.TrimSuffix(string(args), "\x00"), "\x00")
			orphan := exec.CommandContext(context.WithoutCancel(t.Context()), argv[0], argv[1:]...)
			orphan.Env = []string{"LC_ALL=C.UTF-8", "PATH=/usr/bin:/bin"}
			if os.Geteuid() == 0 {
				orphan.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
			}
			orphan.Dir = "/"
			must(t, orphan.Start())
			t.Cleanup(func() { _ = orphan.Process.Kill(); _ = orphan.Wait() })
			waittest.Until(t, 20*time.Second, "the orphan to answer", func() bool { return run(t, s, embedded.RoleAdmin, `SELECT 1`) == nil })
			querying := make(chan error, 1)
			go func() { querying <- run(t, s, embedded.RoleAdmin, `SELECT pg_sleep(600)`) }()
			waittest.Until(t, 20*time.Second, "the query to run", func() bool {
				return run(t, s, embedded.RoleAdmin, `DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%') THEN RAISE EXCEPTION 'not yet'; END IF; END $$`) == nil
			})
			if c.killServer {
				kill(t, orphan.Process.Pid)
				_ = orphan.Wait()
			}
			began := time.Now()
			again, _ := start(t, cfg)
			t.Logf("taking over took %s", time.Since(began).Round(time.Millisecond))
			if <-querying == nil {
				t.Error("the orphan's query went on")
			}
			must(t, run(t, again, embedded.RoleAdmin, checkTable))
			if !c.killServer {
				_ = orphan.Wait()
			}
		})
	}
}

func TestAHalfMadeClusterIsMadeAnew(t *testing.T) {
	t.Parallel()
	data := openDir(t)
	junk := filepath.Join(data, "postgres", "data.new")
	must(t, os.MkdirAll(junk, 0o700))
	must(t, os.WriteFile(filepath.Join(junk, "PG_VERSION"), []byte("18\n"), 0o600))
	s, _ := start(t, config(t, data))
	must(t, run(t, s, schema.RoleMigrate, `SELECT 1`))
}

func TestAnotherMajorVersionIsRefusedInWords(t *testing.T) {
	t.Parallel()
	data := openDir(t)
	dir := filepath.Join(data, "postgres", "data")
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte("12\n"), 0o644))
	giveToServer(t, dir)
	_, err := embedded.New(config(t, data), quiet)
	if err == nil || !strings.Contains(err.Error(), "made by Postgres 12") {
		t.Errorf("got %v", err)
	}
}

func TestALongPathMovesTheSocket(t *testing.T) {
	t.Parallel()
	data := filepath.Join(openDir(t), strings.Repeat("long/", 25))
	s, stop := start(t, config(t, data))
	u, err := url.Parse(s.URL(schema.RoleRW).Reveal())
	must(t, err)
	socket := u.Query().Get("host")
	if strings.HasPrefix(socket, data) || len(socket) > 90 {
		t.Errorf("the socket is in %s", socket)
	}
	info, err := os.Stat(socket)
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the socket's directory has mode %v", info.Mode())
	}
	must(t, run(t, s, schema.RoleRW, `SELECT 1`))
	stop()
	must(t, embedded.Remove(data))
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Remove the socket's directory: %v", err)
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	err := embedded.Config{ConnectionsMax: -1, SharedBuffersMiB: -1}.Validate()
	if err == nil {
		t.Fatal("an empty configuration is valid")
	}
	for _, want := range []string{"binaries", "data directory", "connections", "negative"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if _, err := embedded.New(embedded.Config{BinDir: t.TempDir(), DataDir: t.TempDir()}, quiet); err == nil || !strings.Contains(err.Error(), "make engines") {
		t.Errorf("a directory without binaries: %v", err)
	}
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}
