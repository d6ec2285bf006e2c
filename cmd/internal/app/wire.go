package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/cmd/internal/config"
	"github.com/metiva-io/metiva/pkg/lifecycle"
	"github.com/metiva-io/metiva/pkg/obs"
	"github.com/metiva-io/metiva/pkg/seal"
)

// ErrEnveloped is of a key in an envelope, in a process that asks no KMS.
var ErrEnveloped = errors.New("an envelope, and this process asks no KMS")

// CheckKey reads a key file and says what is wrong with it: missing, not
// readable, of another purpose, in an envelope, or, in production, a development
// key or one that other users of the machine can read.
func CheckKey(keys *config.Keys, process *config.Process, purpose string) (seal.KeyMaterial, error) {
	m, err := readKey(keys, process, purpose)
	if err == nil && m.Enveloped() {
		return seal.KeyMaterial{}, fmt.Errorf("%s in METIVA_KEYS_DIR is %w: put the key itself into a file system in memory with metiva keys open", seal.KeyFileName(purpose), ErrEnveloped)
	}
	return m, err
}

func readKey(keys *config.Keys, process *config.Process, purpose string) (seal.KeyMaterial, error) {
	if keys.Dir == "" {
		return seal.KeyMaterial{}, fmt.Errorf("METIVA_KEYS_DIR is missing: set the directory with %s", seal.KeyFileName(purpose))
	}
	return checkKeyFile(process, keys.Path(purpose), purpose)
}

func checkKeyFile(process *config.Process, path, purpose string) (seal.KeyMaterial, error) {
	name := filepath.Base(path)
	m, err := seal.ReadKeyFile(path, purpose)
	if err != nil {
		return seal.KeyMaterial{}, fmt.Errorf("%s in METIVA_KEYS_DIR: %w", name, err)
	}
	if m.Development && process.InProduction() {
		return seal.KeyMaterial{}, fmt.Errorf("%s in METIVA_KEYS_DIR is a development key: make production keys with metiva keys create", name)
	}
	if err := m.Exposed(); err != nil && process.InProduction() {
		return seal.KeyMaterial{}, fmt.Errorf("%s in METIVA_KEYS_DIR: %w", name, err)
	}
	return m, nil
}

// checkForm says whether a secret key's file has the form the configuration asks
// for. With a KMS, production takes no key that lies on a disk as it is: a file
// that was restored or forgotten would undo what the KMS is there for.
func checkForm(m seal.KeyMaterial, name string, process *config.Process, kms *config.KMS) error {
	switch {
	case m.Enveloped() && !kms.IsSet():
		return fmt.Errorf("%s in METIVA_KEYS_DIR is an envelope: set %s and %s to what opens it", name, config.KMSURI, config.KMSTokenFile)
	case !m.Enveloped() && kms.IsSet() && process.InProduction():
		return fmt.Errorf("%s in METIVA_KEYS_DIR holds the key itself although %s is set: run metiva keys wrap on the directory", name, config.KMSURI)
	}
	return nil
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

// CheckResolvers reads the resolver's private key and its former ones, which lie
// beside it as resolver-private.<name>.key, the current one first. With a KMS they
// are envelopes, which keeper.Open opens.
func CheckResolvers(keys *config.Keys, process *config.Process, kms *config.KMS) ([]seal.KeyMaterial, error) {
	current, err := readKey(keys, process, seal.PurposeResolverPrivate)
	if err != nil {
		return nil, err
	}
	paths, err := seal.FormerKeyFiles(keys.Dir, seal.PurposeResolverPrivate)
	out, faults := []seal.KeyMaterial{current}, []error{err, checkForm(current, seal.KeyFileName(seal.PurposeResolverPrivate), process, kms)}
	for _, path := range paths {
		m, err := checkKeyFile(process, path, seal.PurposeResolverPrivate)
		if err == nil {
			err = checkForm(m, filepath.Base(path), process, kms)
		}
		out, faults = append(out, m), append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return out, nil
}

// NewOpener makes the opener of what CheckResolvers read, with envelopes opened.
func NewOpener(resolvers []seal.KeyMaterial) (*seal.Opener, error) {
	var private []seal.PrivateKey
	for _, m := range resolvers {
		key, err := m.PrivateKey()
		if err != nil {
			return nil, err
		}
		private = append(private, key)
	}
	if len(private) == 0 {
		return nil, errors.New("there is no resolver key")
	}
	return seal.NewOpener(private[0], private[1:]...), nil
}

// WarnOfExposed says which keys other users of the machine can read; production
// has refused those.
func (w *Watched) WarnOfExposed(keys ...seal.KeyMaterial) {
	for _, m := range keys {
		if err := m.Exposed(); err != nil {
			w.Log.Warn("a key file is open to others; production refuses it", slog.String("purpose", m.Purpose), slog.Any("error", err))
		}
	}
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
