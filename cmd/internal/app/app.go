package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/metiva-io/metiva/cmd/internal/config"
)

// System is what a process gets from outside.
type System struct {
	Args           []string
	Env            func(name string) (string, bool)
	Stdout, Stderr io.Writer
	// Stdin is for commands that read; nil has nothing to read.
	Stdin io.Reader
}

// Exit codes.
const (
	exitOK            = 0
	exitFailure       = 1
	exitConfiguration = 2
)

// ErrConfiguration marks a configuration that is at fault.
var ErrConfiguration = errors.New("the configuration is at fault")

// errChecked ends a --check that found nothing.
var errChecked = errors.New("checked")

// Main runs a process until it ends or is told to stop by SIGINT or SIGTERM.
// A second signal ends it at once.
func Main(run func(ctx context.Context, sys System) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	sys := System{Args: os.Args[1:], Env: os.LookupEnv, Stdout: os.Stdout, Stderr: os.Stderr, Stdin: os.Stdin}
	return Code(run(ctx, sys), sys.Stderr)
}

// Code reports an error and turns it into an exit code.
func Code(err error, stderr io.Writer) int {
	switch {
	case err == nil, errors.Is(err, errChecked), errors.Is(err, config.ErrHelp):
		return exitOK
	case errors.Is(err, ErrConfiguration):
		_, _ = fmt.Fprintln(stderr, err)
		return exitConfiguration
	default:
		_, _ = fmt.Fprintln(stderr, err)
		return exitFailure
	}
}

// Configure parses and validates the configuration of a process. With --check
// it reports every fault, or says that there is none, and ends the process.
func Configure(sys System, set *config.Set, process *config.Process, validate func() error) error {
	err := set.Parse(sys.Args, sys.Env)
	if errors.Is(err, config.ErrHelp) {
		set.Usage(sys.Stdout)
		return err
	}
	if err = errors.Join(err, validate()); err != nil {
		return fmt.Errorf("%w:\n%w", ErrConfiguration, err)
	}
	if process.Check {
		_, _ = fmt.Fprintln(sys.Stdout, "the configuration is complete")
		return errChecked
	}
	return nil
}

// Listen opens a TCP listener for the named purpose.
func Listen(ctx context.Context, purpose, address string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for %s: %w", purpose, err)
	}
	return ln, nil
}
