package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/cmd/internal/config"
	"github.com/metiva-io/metiva/pkg/lifecycle"
	"github.com/metiva-io/metiva/pkg/obs"
	"github.com/metiva-io/metiva/pkg/seal"
)

// CheckKey reads a key file and says what is wrong with it: missing, not
// readable, of another purpose, or a development key in production.
func CheckKey(keys *config.Keys, process *config.Process, purpose string) (seal.KeyMaterial, error) {
	if keys.Dir == "" {
		return seal.KeyMaterial{}, fmt.Errorf("METIVA_KEYS_DIR is missing: set the directory with %s", seal.KeyFileName(purpose))
	}
	m, err := seal.ReadKeyFile(keys.Path(purpose), purpose)
	if err != nil {
		return seal.KeyMaterial{}, fmt.Errorf("%s in METIVA_KEYS_DIR: %w", seal.KeyFileName(purpose), err)
	}
	if m.Development && process.InProduction() {
		return seal.KeyMaterial{}, fmt.Errorf("%s in METIVA_KEYS_DIR is a development key: make production keys with metiva keys create", seal.KeyFileName(purpose))
	}
	return m, nil
}

// CheckKeys reports every fault of the given key files.
func CheckKeys(keys *config.Keys, process *config.Process, purposes ...string) error {
	var faults []error
	for _, p := range purposes {
		_, err := CheckKey(keys, process, p)
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// Watched are the parts every process has around its work.
type Watched struct {
	Log      *slog.Logger
	Registry *prometheus.Registry
	Ready    *obs.Readiness
	process  *config.Process
}

// Watch makes the logger, the registry and the readiness of a process; the
// conditions are what it needs before it may be sent work.
func Watch(sys System, process *config.Process, name string, conditions ...string) *Watched {
	return &Watched{
		Log:      obs.NewLogger(sys.Stderr, name, process.Level()),
		Registry: obs.NewRegistry(),
		Ready:    obs.NewReadiness(conditions...),
		process:  process,
	}
}

// Run serves the admin listener beside the stages, and stops it last.
func (w *Watched) Run(ctx context.Context, stages ...lifecycle.Stage) error {
	ln, err := Listen(ctx, "health and metrics", w.process.AdminListen)
	if err != nil {
		return err
	}
	w.Log.Info("starting", slog.String("admin", ln.Addr().String()))
	admin := obs.NewAdmin(w.Registry, w.Ready, w.Log)
	stages = append(stages, lifecycle.Stage{Name: "admin", Run: func(ctx context.Context) error { return admin.Serve(ctx, ln) }})
	err = lifecycle.Run(ctx, w.Log, w.process.DrainTimeout, stages...)
	if err == nil {
		w.Log.Info("stopped")
	}
	return err
}

// retryEvery is the pause between two tries of something a process needs.
const retryEvery = time.Second

// Until retries do until it succeeds or ctx ends, reporting the condition.
func (w *Watched) Until(ctx context.Context, condition string, do func(context.Context) error) error {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		err := do(ctx)
		w.Ready.Set(condition, err)
		if err == nil {
			return nil
		}
		w.Log.Warn("not there yet, trying again", slog.String("condition", condition), slog.Any("error", err))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
