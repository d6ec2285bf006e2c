package metiva

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app/keeper"
	"github.com/metiva-io/metiva/cmd/internal/config"
	"github.com/metiva-io/metiva/pkg/obs"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/seal/kms"
)

type keysCommand struct {
	Create keysCreate `cmd:"" help:"Make a set of production keys; existing files are kept. With a KMS, secret keys are made in envelopes."`
	Wrap   keysWrap   `cmd:"" help:"Put the secret keys of a directory into envelopes that only the KMS opens."`
	Open   keysOpen   `cmd:"" help:"Put the keys of a directory, envelopes opened, into a file system in memory, for a process that asks no KMS."`
}

// kmsFlags name the KMS of a command. There is none for the token itself: the
// arguments of a process can be read by others.
type kmsFlags struct {
	URI       string        `name:"kms" env:"METIVA_KMS_URI" help:"Key that opens envelopes: hcvault://host:port/mount/keys/name."`
	TokenFile string        `name:"kms-token-file" env:"METIVA_KMS_TOKEN_FILE" help:"File with the token for the KMS."`
	CAFile    string        `name:"kms-ca-file" env:"METIVA_KMS_CA_FILE" help:"PEM file of the KMS's authority; empty for the system's."`
	Namespace string        `name:"kms-namespace" env:"METIVA_KMS_NAMESPACE" help:"Namespace of the KMS."`
	Timeout   time.Duration `name:"kms-timeout" env:"METIVA_KMS_TIMEOUT" default:"30s" help:"How long to wait for the KMS for one key."`
}

func (f kmsFlags) settings() *config.KMS {
	return &config.KMS{URI: f.URI, TokenFile: f.TokenFile, CAFile: f.CAFile, Namespace: f.Namespace, Timeout: f.Timeout}
}

func (f kmsFlags) keeper(t terminal) (*kms.KMS, error) {
	return keeper.New(f.settings(), obs.NewLogger(t.err, "keys", slog.LevelWarn))
}

type keysCreate struct {
	kmsFlags
	Dir string `required:"" help:"Directory for the key files; created when missing."`
}

// Run makes the keys.
func (c *keysCreate) Run(ctx context.Context, t terminal) error {
	if c.URI == "" {
		if err := seal.GenerateProductionKeys(c.Dir); err != nil {
			return err
		}
		t.printf("keys are in %s; docs/operations/keys.md says which process gets which\n", c.Dir)
		return nil
	}
	k, err := c.keeper(t)
	if err != nil {
		return err
	}
	if err := seal.GenerateEnvelopedKeys(ctx, c.Dir, k); err != nil {
		return keeper.Advise(err, k.Host())
	}
	for _, purpose := range seal.SecretPurposes() {
		m, err := seal.ReadKeyFile(filepath.Join(c.Dir, seal.KeyFileName(purpose)), purpose)
		if err != nil {
			return err
		}
		if !m.Enveloped() {
			return fmt.Errorf("%s was there already and holds the key itself: run metiva keys wrap", seal.KeyFileName(purpose))
		}
	}
	t.printf("keys are in %s, the secret ones in envelopes; docs/operations/keys.md says which process gets which\n", c.Dir)
	return nil
}

type keysWrap struct {
	kmsFlags
	Dir   string `required:"" help:"Directory with the key files."`
	Again bool   `help:"Make envelopes anew that are there already, with the newest version of the KMS's key."`
}

// Run replaces the files one by one; each is the old or the new one at any time.
func (c *keysWrap) Run(ctx context.Context, t terminal) error {
	k, err := c.keeper(t)
	if err != nil {
		return err
	}
	files, err := keyFiles(c.Dir, seal.SecretPurposes())
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("there are no secret keys in %s", c.Dir)
	}
	lay := false // on the disk as it is
	for _, f := range files {
		m, err := seal.ReadKeyFile(f.path, f.purpose)
		if err != nil {
			return err
		}
		lay = lay || !m.Enveloped()
		if m.Enveloped() && !c.Again {
			t.printf("%s is an envelope already\n", filepath.Base(f.path))
			continue
		}
		if err := alone(f.path); err != nil {
			return err
		}
		if m, err = m.Open(ctx, k); err == nil {
			m, err = m.Envelop(ctx, k)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(f.path), keeper.Advise(err, k.Host()))
		}
		if err := seal.ReplaceKeyFile(f.path, m); err != nil {
			return err
		}
		t.printf("%s is in an envelope\n", filepath.Base(f.path))
	}
	if lay {
		t.printf("what a disk, a backup or a snapshot still has of the former files can be read: see docs/operations/keys.md\n")
	}
	return nil
}

// alone refuses a link: the envelope would take its place, and the key itself stay
// where it is.
func alone(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("looking at %s: %w", filepath.Base(path), err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !info.Mode().IsRegular() || ok && st.Nlink > 1 {
		return fmt.Errorf("%s is a link, or has another name: the key would stay there as it is; run metiva keys wrap on the file itself, without other names", filepath.Base(path))
	}
	return nil
}

type keysOpen struct {
	kmsFlags
	Dir string `required:"" help:"Directory with the key files."`
	Out string `required:"" help:"Existing directory on a tmpfs or ramfs; key files that are there are replaced."`
}

// Run writes what a collector reads: its keys, on nothing but memory.
func (c *keysOpen) Run(ctx context.Context, t terminal) error {
	if err := inMemory(c.Out); err != nil {
		return err
	}
	return c.write(ctx, t)
}

func (c *keysOpen) write(ctx context.Context, t terminal) error {
	from, fromErr := os.Stat(c.Dir)
	to, toErr := os.Stat(c.Out)
	if err := errors.Join(fromErr, toErr); err != nil {
		return fmt.Errorf("looking at the directories: %w", err)
	}
	if os.SameFile(from, to) {
		return errors.New("--dir and --out are the same directory: the envelopes would be lost")
	}
	files, err := keyFiles(c.Dir, seal.Purposes())
	if err != nil {
		return err
	}
	var keys []seal.KeyMaterial
	for _, f := range files {
		m, err := seal.ReadKeyFile(f.path, f.purpose)
		if err != nil {
			return err
		}
		keys = append(keys, m)
	}
	if keys, err = keeper.Open(ctx, c.settings(), obs.NewLogger(t.err, "keys", slog.LevelWarn), keys); err != nil {
		return err
	}
	for i, f := range files {
		if err := seal.ReplaceKeyFile(filepath.Join(c.Out, filepath.Base(f.path)), keys[i]); err != nil {
			return err
		}
	}
	t.printf("%d keys are in %s\n", len(files), c.Out)
	return nil
}

type keyFile struct{ path, purpose string }

// keyFiles lists the current and former keys of the purposes that are there.
func keyFiles(dir string, purposes []string) ([]keyFile, error) {
	var out []keyFile
	for _, purpose := range purposes {
		if path := filepath.Join(dir, seal.KeyFileName(purpose)); exists(path) {
			out = append(out, keyFile{path, purpose})
		}
		former, err := seal.FormerKeyFiles(dir, purpose)
		if err != nil {
			return nil, err
		}
		for _, path := range former {
			out = append(out, keyFile{path, purpose})
		}
	}
	return out, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Types of file systems that are memory (statfs(2)).
const (
	tmpfsMagic = 0x01021994
	ramfsMagic = 0x858458f6
)

// inMemory refuses a directory that is on a disk.
func inMemory(dir string) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return fmt.Errorf("asking for the file system of %s: %w", dir, err)
	}
	if kind := uint32(st.Type); kind != tmpfsMagic && kind != ramfsMagic {
		return fmt.Errorf("%s is on a disk: name a directory on a tmpfs, so that the keys are nowhere else", dir)
	}
	return nil
}
