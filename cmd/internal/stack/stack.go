package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/secret"
)

// Config says where everything is.
type Config struct {
	// DataDir holds all state; delete it to start anew.
	DataDir string
	// CacheDir holds what was installed by package name and the company
	// database built from it.
	CacheDir string
	// BinDir holds the binaries of the processes.
	BinDir string
	// CollectorPort and DemoPort are preferred; another is taken when in use.
	CollectorPort, DemoPort int

	// Addresses of real servers; empty means the embedded engine. Of Kafka, also
	// how to connect to its brokers.
	Kafka         kafka.Config
	ClickHouseURL secret.Text
	Postgres      PostgresURLs

	// Progress receives one line for each step.
	Progress io.Writer
}

// PostgresURLs are the connections by role. A real server needs all three.
type PostgresURLs struct {
	// Migrate becomes the owner of the schema.
	Migrate secret.Text
	// RW serves requests in one tenant's context.
	RW secret.Text
	// Worker moves the outbox to Kafka.
	Worker secret.Text
}

// Names of the parts, as Kill and the logs know them.
const (
	Kafka      = "kafka"
	ClickHouse = "clickhouse"
	Postgres   = "postgres"
	Core       = "core"
	Enrich     = "enrich"
	Sink       = "sink"
	Collector  = "collector"
)

// part is one running piece, stopped by ending its context.
type part struct {
	name   string
	cancel context.CancelFunc
	done   chan error
	pid    func() int
	// told is set once its failure was returned: the stop does not repeat it.
	told atomic.Bool
}

// runnable is a supervised child, or an engine made of one.
type runnable interface {
	Run(ctx context.Context) error
	Ready() <-chan struct{}
	PID() int
}

// Stack is a running Metiva.
type Stack struct {
	cfg   Config
	lay   *layout
	log   *slog.Logger
	addr  Addresses
	parts []*part // in the order they were started
	files []*os.File
	ended chan *part

	progress sync.Mutex
}

// Addresses tells where the running parts are.
type Addresses struct {
	CollectorURL  string
	AdminURLs     map[string]string
	KafkaBrokers  []string
	ClickHouseURL secret.Text
	Postgres      PostgresURLs
	KeysDir       string
	GeoDir        string
	LogDir        string
}

// partsMax is the number of parts a stack has.
const partsMax = 16

// Run starts everything, calls ready, and stops everything when ready returns
// or ctx ends, in flow order: collector, enrich, sink, core, then the engines.
// It returns what ready returned, joined with the failures of the stop.
func Run(ctx context.Context, cfg Config, ready func(ctx context.Context, s *Stack) error) error {
	lay, err := openLayout(cfg.DataDir)
	if err != nil {
		return err
	}
	defer lay.close()
	s := &Stack{cfg: cfg, lay: lay, ended: make(chan *part, partsMax)}
	logFile, err := lay.log("metiva")
	if err != nil {
		return err
	}
	s.files = append(s.files, logFile)
	s.log = slog.New(slog.NewJSONHandler(logFile, nil))
	defer s.closeFiles()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go s.watch(ctx, cancel)
	err = s.start(ctx)
	if err == nil {
		err = ready(ctx, s)
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(err, cause)
	} else if errors.Is(err, context.Canceled) {
		err = nil // told to stop
	}
	return errors.Join(err, s.stop())
}

// watch ends the run when a part ends for good by itself.
func (s *Stack) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	select {
	case p := <-s.ended:
		err := <-p.done
		p.done <- err
		if err == nil {
			err = errors.New("it ended by itself")
		}
		p.told.Store(true)
		cancel(fmt.Errorf("%s: %w (its log is %s)", p.name, err, s.logOf(p.name)))
	case <-ctx.Done():
	}
}

// Addresses tells where the running parts are.
func (s *Stack) Addresses() Addresses { return s.addr }

// DataDir is the data directory of the run.
func (s *Stack) DataDir() string { return s.lay.root }

// PID is the process id of a part's child, 0 between two.
func (s *Stack) PID(name string) int {
	for _, p := range s.parts {
		if p.name == name {
			return p.pid()
		}
	}
	return 0
}

func (s *Stack) say(format string, args ...any) {
	if s.cfg.Progress != nil {
		s.progress.Lock()
		defer s.progress.Unlock()
		_, _ = fmt.Fprintf(s.cfg.Progress, format+"\n", args...)
	}
}

// crashed is told of each crash of a part that is started again: a person at
// the terminal should not have to look for it in a log.
func (s *Stack) crashed(name string) func(error) {
	return func(err error) {
		s.say("%s ended and is started again: %v (its log is %s)", name, err, s.logOf(name))
	}
}

func (s *Stack) logOf(name string) string { return s.lay.path("log", name+".log") }

// step runs one part of the start and says how long it took.
func (s *Stack) step(ctx context.Context, what string, do func(ctx context.Context) error) error {
	began := time.Now()
	if err := do(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	s.say("  %-34s %5.1f s", what, time.Since(began).Seconds())
	return nil
}

// launch starts a part and waits until it is ready.
func (s *Stack) launch(ctx context.Context, name string, r runnable) error {
	// Not a child of ctx: parts are told to stop one after another.
	partCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &part{name: name, cancel: cancel, done: make(chan error, 1), pid: r.PID}
	s.parts = append(s.parts, p)
	go func() {
		p.done <- r.Run(partCtx)
		if partCtx.Err() == nil {
			s.ended <- p
		}
	}()
	select {
	case <-r.Ready():
		return nil
	case err := <-p.done:
		p.done <- err
		if err == nil {
			err = errors.New("it ended before it was ready")
		}
		p.told.Store(true)
		return fmt.Errorf("%w (its log is %s)", err, s.logOf(name))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop ends the parts, the last started first.
func (s *Stack) stop() error {
	var errs []error
	for i := len(s.parts) - 1; i >= 0; i-- {
		p := s.parts[i]
		p.cancel()
		if err := <-p.done; err != nil && !errors.Is(err, context.Canceled) && !p.told.Load() {
			errs = append(errs, fmt.Errorf("stopping %s: %w", p.name, err))
		}
	}
	return errors.Join(errs...)
}

func (s *Stack) closeFiles() {
	for _, f := range s.files {
		_ = f.Close()
	}
}

// output opens the log of a child and keeps it until the end of the run.
func (s *Stack) output(name string) (io.Writer, error) {
	f, err := s.lay.log(name)
	if err != nil {
		return nil, err
	}
	s.files = append(s.files, f)
	return f, nil
}

func (s *Stack) binary(name string) (string, error) {
	p := filepath.Join(s.cfg.BinDir, name)
	if _, err := os.Stat(p); err != nil {
		return "", fmt.Errorf("the binary %s is missing next to metiva: run make build", name)
	}
	return p, nil
}
