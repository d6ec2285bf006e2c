package postgres

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/metiva-io/metiva/pkg/embedded/supervise"
	"github.com/metiva-io/metiva/pkg/secret"
)

// Server is one supervised Postgres. Its URLs are known from New on.
type Server struct {
	cfg         Config
	id          *identity
	place       place
	log         *slog.Logger
	credentials credentials
	process     *supervise.Process
	lock        *os.File
}

// prepareTimeout limits initdb and the creation of roles.
const prepareTimeout = 2 * time.Minute

// New finds or makes the cluster (about a second the first time), ends a
// server left over there by a killed run, and prepares the child process. It
// does not start it: Run does.
func New(cfg Config, log *slog.Logger) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configuring the embedded Postgres: %w", err)
	}
	id, err := serverIdentity()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, id: id, log: log}
	if s.place, err = choosePlace(cfg, id); err != nil {
		return nil, err
	}
	if s.lock, err = lockCluster(s.place.root); err != nil {
		return nil, err
	}
	if err := s.prepare(); err != nil {
		_ = s.lock.Close()
		return nil, err
	}
	s.process = supervise.New(s.spec(), log)
	return s, nil
}

// prepare ends what is left over and makes the cluster if there is none.
func (s *Server) prepare() error {
	if err := endLeftOver(s.place.data); err != nil {
		return fmt.Errorf("ending a left-over Postgres: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), prepareTimeout)
	defer cancel()
	var err error
	s.credentials, err = s.ensureCluster(ctx)
	return err
}

// Run starts the server and keeps it running until ctx ends; then it stops it
// with a fast shutdown, which ends open transactions, and gives the cluster
// free. A Server runs once.
func (s *Server) Run(ctx context.Context) error {
	defer func() {
		if s.place.run != filepath.Join(s.place.root, "run") && s.cfg.RunDir == "" {
			_ = os.Remove(s.place.run) // the one below the temporary directory; only when empty
		}
		_ = s.lock.Close()
	}()
	if err := s.process.Run(ctx); err != nil {
		return fmt.Errorf("running the embedded Postgres: %w", err)
	}
	return nil
}

// Ready is closed when the server first accepts connections.
func (s *Server) Ready() <-chan struct{} { return s.process.Ready() }

// PID is the server's process id, 0 while it is not running.
func (s *Server) PID() int { return s.process.PID() }

// URL is the connection URL of a role of schemas/postgres (or RoleAdmin) to
// the product's database.
func (s *Server) URL(role string) secret.Text { return s.DatabaseURL(role, Database) }

// DatabaseURL is URL for another database of the cluster.
func (s *Server) DatabaseURL(role, database string) secret.Text {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(role, s.credentials[role].Reveal()),
		Path:     "/" + database,
		RawQuery: url.Values{"host": {s.place.run}, "port": {"5432"}, "sslmode": {"disable"}}.Encode(),
	}
	return secret.New(u.String())
}

func (s *Server) spec() supervise.Spec {
	fsync := "on"
	if s.cfg.UnsafeNoSync {
		fsync = "off"
	}
	settings := []string{
		"listen_addresses=",
		"unix_socket_directories=" + s.place.run,
		"unix_socket_permissions=0700",
		"max_connections=" + strconv.Itoa(s.cfg.ConnectionsMax),
		"shared_buffers=" + strconv.Itoa(s.cfg.SharedBuffersMiB) + "MB",
		"fsync=" + fsync,
		"synchronous_commit=" + fsync,
		"full_page_writes=" + fsync,
		"password_encryption=scram-sha-256",
		"timezone=UTC",
		"log_timezone=UTC",
		// Neither statements nor row values in the log.
		"log_min_messages=warning",
		"log_min_error_statement=panic",
		"log_error_verbosity=terse",
		"log_statement=none",
	}
	args := []string{"-D", s.place.data, "-p", "5432"}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	return supervise.Spec{
		Name: "postgres", Path: filepath.Join(s.place.bin, "postgres"), Args: args,
		Env: environment(), Dir: "/", Credential: s.id.credential(),
		StopSignal: syscall.SIGINT, StopTimeout: s.cfg.StopTimeout,
		Ready: s.answers, ReadyTimeout: readyTimeout,
		Output: &lineLogger{log: s.log}, Ended: s.cfg.Ended,
	}
}

// answers reports whether the server takes connections: its own state file
// says so, and the socket is there.
func (s *Server) answers(ctx context.Context) error {
	pid, state := readPIDFile(s.place.data)
	if pid != s.process.PID() || state != "ready" {
		return fmt.Errorf("postgres is %q", state)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(s.place.run, socketName))
	if err != nil {
		return fmt.Errorf("connecting to the socket: %w", err)
	}
	return conn.Close()
}

// lineLogger passes what Postgres prints on as warnings, whole lines only.
type lineLogger struct {
	log     *slog.Logger
	pending []byte
}

var _ io.Writer = (*lineLogger)(nil)

const lineBytesMax = 4096

func (l *lineLogger) Write(b []byte) (int, error) {
	l.pending = append(l.pending, b...)
	for {
		i := 0
		for i < len(l.pending) && l.pending[i] != '\n' {
			i++
		}
		if i == len(l.pending) {
			break
		}
		if i > 0 {
			l.log.Warn("postgres says", slog.String("line", string(l.pending[:i])))
		}
		l.pending = l.pending[i+1:]
	}
	if len(l.pending) > lineBytesMax {
		l.pending = l.pending[:0]
	}
	return len(b), nil
}
