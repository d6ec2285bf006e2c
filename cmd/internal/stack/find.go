package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	embeddedpostgres "github.com/metiva-io/metiva/pkg/embedded/postgres"
	"github.com/metiva-io/metiva/pkg/secret"
)

// ErrNotRunning says that no stack runs in a data directory.
var ErrNotRunning = errors.New("no metiva is running there")

// found is Addresses as stored in the data directory, for the operator's
// commands. The file is readable by its owner only: the URLs hold the
// passwords of the development engines.
type found struct {
	CollectorURL                string
	AdminURLs                   map[string]string
	KafkaBrokers                []string
	ClickHouseURL               string
	PostgresMigrate, PostgresRW string
	PostgresWorker              string
	KeysDir, GeoDir, LogDir     string
}

const foundFile = "stack.json"

// publish writes where everything is, for Find.
func (s *Stack) publish() error {
	a := s.addr
	raw, err := json.Marshal(found{
		a.CollectorURL, a.AdminURLs, a.KafkaBrokers, a.ClickHouseURL.Reveal(),
		a.Postgres.Migrate.Reveal(), a.Postgres.RW.Reveal(), a.Postgres.Worker.Reveal(),
		a.KeysDir, a.GeoDir, a.LogDir,
	})
	if err != nil {
		return fmt.Errorf("noting where everything is: %w", err)
	}
	if err := os.WriteFile(s.lay.path("run", foundFile), raw, 0o600); err != nil {
		return fmt.Errorf("noting where everything is: %w", err)
	}
	return nil
}

// Remove deletes a data directory in which nothing runs, and what lies
// elsewhere because the directory is out of reach of the server's user.
func Remove(dataDir string) error {
	return errors.Join(embeddedpostgres.Remove(dataDir), os.RemoveAll(dataDir))
}

// Find returns the addresses of the stack that runs in a data directory.
func Find(dataDir string) (Addresses, error) {
	run := filepath.Join(dataDir, "run")
	lock, err := os.Open(filepath.Join(run, "lock"))
	if err != nil {
		return Addresses{}, fmt.Errorf("looking for a running stack in %s: %w", dataDir, ErrNotRunning)
	}
	defer closeQuietly(lock)
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil {
		return Addresses{}, fmt.Errorf("looking for a running stack in %s: %w", dataDir, ErrNotRunning)
	}
	raw, err := os.ReadFile(filepath.Join(run, foundFile))
	if err != nil {
		return Addresses{}, fmt.Errorf("a metiva is starting in %s: %w", dataDir, err)
	}
	var f found
	if err := json.Unmarshal(raw, &f); err != nil {
		return Addresses{}, fmt.Errorf("reading where everything is: %w", err)
	}
	return Addresses{
		CollectorURL: f.CollectorURL, AdminURLs: f.AdminURLs, KafkaBrokers: f.KafkaBrokers,
		ClickHouseURL: secret.New(f.ClickHouseURL),
		Postgres: PostgresURLs{
			Migrate: secret.New(f.PostgresMigrate), RW: secret.New(f.PostgresRW), Worker: secret.New(f.PostgresWorker),
		},
		KeysDir: f.KeysDir, GeoDir: f.GeoDir, LogDir: f.LogDir,
	}, nil
}
