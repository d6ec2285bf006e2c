package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// defaultCleanEvery is how often retention and compaction run. kfake's own
// ticker is hourly and does not start again after a restart.
const defaultCleanEvery = 5 * time.Minute

// Config says where the broker keeps its data and listens.
type Config struct {
	// DataDir is made when missing. One process may use it at a time.
	DataDir string
	// Listen is a loopback host:port with a fixed port, since clients know the
	// broker by it across restarts.
	Listen string
	// CleanEvery is the time between two runs of compaction and retention;
	// zero means five minutes.
	CleanEvery time.Duration
}

// Validate reports every fault of the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.DataDir == "" {
		errs = append(errs, errors.New("embedded kafka: data directory is missing"))
	}
	addr, err := netip.ParseAddrPort(c.Listen)
	switch {
	case err != nil:
		errs = append(errs, fmt.Errorf("embedded kafka: listen address must be an IP and a port: %w", err))
	case !addr.Addr().IsLoopback():
		errs = append(errs, fmt.Errorf("embedded kafka: listen address %s is not loopback", addr))
	case addr.Port() == 0:
		errs = append(errs, errors.New("embedded kafka: listen port must be fixed, not 0"))
	}
	if c.CleanEvery < 0 {
		errs = append(errs, errors.New("embedded kafka: clean interval is negative"))
	}
	return errors.Join(errs...)
}

// Serve runs the broker until ctx ends, then closes it and returns nil.
// Topics are made by their owners only; nothing is created automatically.
func Serve(ctx context.Context, cfg Config, log *slog.Logger) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("making the data directory of the embedded kafka: %w", err)
	}
	lock, err := lockDir(cfg.DataDir)
	if err != nil {
		return err
	}
	defer lock.Close()

	began := time.Now()
	logDir := filepath.Join(cfg.DataDir, "log")
	if err := restoreSequences(logDir, log); err != nil {
		return err
	}
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) { return net.Listen(network, cfg.Listen) }),
		kfake.DataDir(logDir),
		kfake.SyncWrites(),
		kfake.ClusterID("metiva-embedded"),
		// Lets a development set-up give the partitions of a killed process to
		// the next one within seconds.
		kfake.GroupMinSessionTimeout(time.Second),
		kfake.WithLogger(logAdapter{log}),
	)
	if err != nil {
		return fmt.Errorf("starting the embedded kafka: %w", err)
	}
	log.Info("embedded kafka is listening", "address", cfg.Listen, "load_ms", time.Since(began).Milliseconds())

	every := cfg.CleanEvery
	if every == 0 {
		every = defaultCleanEvery
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			log.Info("embedded kafka is closing")
			cluster.Close()
			return markClean(logDir)
		case <-ticker.C:
			cluster.Compact() // applies retention as well
		}
	}
}

// lockDir takes the lock that keeps a second broker away from the directory.
// The kernel drops it with the process, so a kill leaves nothing stale.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of the embedded kafka: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("locking %s for the embedded kafka (is another one running?): %w", dir, err)
	}
	return f, nil
}

// Probe returns a readiness check: it passes when a broker at the address has
// loaded its data and answers an ApiVersions request.
func Probe(address string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("connecting to the embedded kafka: %w", err)
		}
		defer conn.Close()
		deadline, ok := ctx.Deadline()
		if !ok {
			deadline = time.Now().Add(2 * time.Second)
		}
		if err := conn.SetDeadline(deadline); err != nil {
			return fmt.Errorf("probing the embedded kafka: %w", err)
		}
		// size, api key 18, version 0, correlation id 1, null client id
		request := []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff}
		if _, err := conn.Write(request); err != nil {
			return fmt.Errorf("probing the embedded kafka: %w", err)
		}
		var answer [10]byte // size, correlation id, error code
		if _, err := io.ReadFull(conn, answer[:]); err != nil {
			return fmt.Errorf("probing the embedded kafka: %w", err)
		}
		if code := binary.BigEndian.Uint16(answer[8:]); code != 0 {
			return fmt.Errorf("probing the embedded kafka: error code %d", code)
		}
		return nil
	}
}

// logAdapter gives kfake's lines to slog. kfake logs addresses, topics and
// counters, never records.
type logAdapter struct{ log *slog.Logger }

func (a logAdapter) Logf(level kfake.LogLevel, format string, args ...any) {
	var l slog.Level
	switch level {
	case kfake.LogLevelError:
		l = slog.LevelError
	case kfake.LogLevelWarn:
		l = slog.LevelWarn
	default:
		l = slog.LevelDebug
	}
	if a.log.Enabled(context.Background(), l) {
		a.log.Log(context.Background(), l, "kfake says", slog.String("text", fmt.Sprintf(format, args...)))
	}
}
