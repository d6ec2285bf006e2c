package postgres

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/metiva-io/metiva/pkg/secret"
	schema "github.com/metiva-io/metiva/schemas/postgres"
)

// RoleAdmin is the cluster's superuser. No process of the product uses it.
const RoleAdmin = "metiva_admin"

// Database is the database the product uses.
const Database = "metiva"

// credentials are the passwords by role. They have been made by us, of letters
// and digits only, so they need no escaping.
type credentials map[string]secret.Text

// ensureCluster makes the cluster if there is none, and returns its passwords.
func (s *Server) ensureCluster(ctx context.Context) (credentials, error) {
	if err := s.sameMajor(ctx); err != nil {
		return nil, err
	}
	path := filepath.Join(s.place.root, credentialsName)
	_, err := os.Stat(filepath.Join(s.place.data, "PG_VERSION"))
	if err == nil {
		return readCredentials(path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking at the cluster: %w", err)
	}
	made := credentials{}
	for _, role := range append([]string{RoleAdmin}, schema.LoginRoles()...) {
		made[role] = secret.New(rand.Text())
	}
	// Passwords first: a cluster whose passwords are lost would be useless.
	if err := writeCredentials(path, made); err != nil {
		return nil, err
	}
	building := s.place.data + ".new"
	if err := endLeftOver(building); err != nil {
		return nil, fmt.Errorf("ending a left-over first start: %w", err)
	}
	if err := os.RemoveAll(building); err != nil {
		return nil, fmt.Errorf("removing a half-made cluster: %w", err)
	}
	if err := os.Mkdir(building, 0o700); err != nil {
		return nil, fmt.Errorf("making the cluster's directory: %w", err)
	}
	if err := s.id.own(building); err != nil {
		return nil, err
	}
	if err := s.initdb(ctx, building); err != nil {
		return nil, err
	}
	if err := s.prepareDatabase(ctx, building, made); err != nil {
		return nil, err
	}
	if err := os.Rename(building, s.place.data); err != nil {
		return nil, fmt.Errorf("putting the cluster in its place: %w", err)
	}
	return made, nil
}

// sameMajor refuses a cluster made by another major version of Postgres.
func (s *Server) sameMajor(ctx context.Context) error {
	raw, err := os.ReadFile(filepath.Join(s.place.data, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the cluster's version: %w", err)
	}
	out, err := s.command(ctx, "postgres", "--version").Output()
	if err != nil {
		return fmt.Errorf("asking Postgres for its version: %w", err)
	}
	cluster, binary := strings.TrimSpace(string(raw)), majorOf(string(out))
	if cluster != binary {
		return fmt.Errorf("the cluster in %s was made by Postgres %s, but the binaries in %s are of Postgres %s; install that version or delete the data directory",
			s.place.data, cluster, s.place.bin, binary)
	}
	return nil
}

// initdb makes an empty cluster. Without syncing: the server's first checkpoint
// and the rename come after, and a cluster lost with the machine in its first
// second is simply made again.
func (s *Server) initdb(ctx context.Context, dir string) error {
	cmd := s.command(ctx, "initdb", "-D", dir, "-U", RoleAdmin, "--auth=reject",
		"--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	if out, err := combinedOutput(cmd); err != nil {
		return fmt.Errorf("making the cluster with initdb: %w: %s", err, lastLine(out))
	}
	hba := filepath.Join(dir, "pg_hba.conf")
	if err := os.WriteFile(hba, []byte("# Only the unix socket, only with a password.\nlocal all all scram-sha-256\n"), 0o600); err != nil {
		return fmt.Errorf("writing the cluster's access rules: %w", err)
	}
	return s.id.own(hba)
}

// prepareDatabase creates the roles, their passwords and the database, in
// single-user mode: nobody can connect before the passwords are set.
func (s *Server) prepareDatabase(ctx context.Context, dir string, made credentials) error {
	var sql strings.Builder
	sql.WriteString(schema.Roles() + "\n\n\n")
	for role, password := range made {
		fmt.Fprintf(&sql, "ALTER ROLE %s PASSWORD '%s';\n\n\n", role, password.Reveal())
	}
	fmt.Fprintf(&sql, "CREATE DATABASE %s OWNER app_owner;\n\n\n", Database)
	fmt.Fprintf(&sql, "REVOKE ALL ON DATABASE %s FROM PUBLIC;\n\n\n", Database)
	fmt.Fprintf(&sql, "GRANT CONNECT ON DATABASE %s TO %s;\n\n\n", Database, strings.Join(schema.LoginRoles(), ", "))
	// -j: a statement ends with a semicolon and two empty lines.
	cmd := s.command(ctx, "postgres", "--single", "-j", "-F", "-D", dir,
		"-c", "exit_on_error=on", "-c", "log_min_messages=fatal", "-c", "log_statement=none", "postgres")
	cmd.Stdin = strings.NewReader(sql.String())
	if out, err := combinedOutput(cmd); err != nil {
		return fmt.Errorf("creating the roles and the database: %w: %s", err, lastLine(out))
	}
	return nil
}

// command runs one of the binaries as the server's user.
func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.place.bin, name), args...) //nolint:gosec // our own binaries
	cmd.Env = environment()
	cmd.Dir = "/"
	// A first start that is killed takes its tools with it. A Ctrl-C, which the
	// terminal sends to the whole process group, lets them finish.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.id.credential(), Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// combinedOutput runs a tool from a thread that lives as long as the tool: the
// kernel sends Pdeathsig when the creating thread ends.
func combinedOutput(cmd *exec.Cmd) ([]byte, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.CombinedOutput()
}

func environment() []string {
	return []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC", "HOME=/nonexistent"}
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

func writeCredentials(path string, c credentials) error {
	plain := make(map[string]string, len(c))
	for role, password := range c {
		plain[role] = password.Reveal()
	}
	raw, err := json.MarshalIndent(plain, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the passwords: %w", err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the passwords: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("writing the passwords: %w", err)
	}
	return nil
}

func readCredentials(path string) (credentials, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's passwords: %w", err)
	}
	var c credentials
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, errors.New("the file of the cluster's passwords cannot be read")
	}
	return c, nil
}
