package seal

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// GenerateDevelopmentKeys puts a key of every purpose into dir, marked
// development. It keeps what is there, and several starters may call it at once.
func GenerateDevelopmentKeys(dir string) error {
	return keyMaker{dir: dir, development: true}.all(context.Background())
}

// GenerateProductionKeys is GenerateDevelopmentKeys for keys a production
// process accepts; an operator moves each to the processes that need it.
func GenerateProductionKeys(dir string) error {
	return keyMaker{dir: dir}.all(context.Background())
}

// GenerateEnvelopedKeys is GenerateProductionKeys with every new secret key in an
// envelope: it is on no disk as it is.
func GenerateEnvelopedKeys(ctx context.Context, dir string, keeper KeyKeeper) error {
	return keyMaker{dir: dir, keeper: keeper}.all(ctx)
}

// keyMaker puts keys into a directory.
type keyMaker struct {
	dir         string
	development bool
	keeper      KeyKeeper // nil: secret keys are written as they are
}

func (k keyMaker) all(ctx context.Context) error {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return fmt.Errorf("creating key directory: %w", err)
	}
	for _, pair := range [][2]string{
		{PurposeResolverPrivate, PurposeResolverPublic},
		{PurposeEdgePrivate, PurposeEdgePublic},
	} {
		if err := k.pair(ctx, pair[0], pair[1]); err != nil {
			return err
		}
	}
	for _, purpose := range []string{PurposeConsentToken, PurposeErasure} {
		if _, err := k.ensure(ctx, purpose, func() (KeyMaterial, error) {
			raw := make([]byte, keyBytes)
			_, _ = rand.Read(raw) // crypto/rand never returns an error
			return KeyMaterial{Purpose: purpose, Development: k.development, raw: veilOf(raw)}, nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// pair makes the public file from the private one that won, so that two starters
// agree.
func (k keyMaker) pair(ctx context.Context, private, public string) error {
	priv, err := k.ensure(ctx, private, func() (KeyMaterial, error) {
		key, err := kem().GenerateKey()
		if err != nil {
			return KeyMaterial{}, fmt.Errorf("generating %s key: %w", private, err)
		}
		raw, err := key.Bytes()
		if err != nil {
			return KeyMaterial{}, fmt.Errorf("generating %s key: %w", private, err)
		}
		return KeyMaterial{Purpose: private, Development: k.development, raw: veilOf(raw)}, nil
	})
	if err != nil {
		return err
	}
	want, err := priv.PublicKey()
	if err != nil {
		return fmt.Errorf("finding the public half of the %s key: %w", private, err)
	}
	pub, err := k.ensure(ctx, public, func() (KeyMaterial, error) {
		return KeyMaterial{Purpose: public, Development: priv.Development, raw: veilOf(want.key.Bytes())}, nil
	})
	if err != nil {
		return err
	}
	if !bytes.Equal(pub.bytes(), want.key.Bytes()) {
		return fmt.Errorf("the keys %s and %s in %s are not a pair", private, public, k.dir)
	}
	return nil
}

// ensure reads the key of a purpose, or writes what fresh returns.
func (k keyMaker) ensure(ctx context.Context, purpose string, fresh func() (KeyMaterial, error)) (KeyMaterial, error) {
	path := filepath.Join(k.dir, KeyFileName(purpose))
	if _, err := os.Stat(path); err == nil {
		return k.read(ctx, path, purpose)
	}
	m, err := fresh()
	if err != nil {
		return KeyMaterial{}, err
	}
	if k.keeper != nil && m.IsSecret() {
		if m, err = m.Envelop(ctx, k.keeper); err != nil {
			return KeyMaterial{}, err
		}
	}
	if err := CreateKeyFile(path, m); err != nil && !errors.Is(err, fs.ErrExist) {
		return KeyMaterial{}, err
	}
	return k.read(ctx, path, purpose)
}

// read is ReadKeyFile, with the envelope opened where there is a keeper.
func (k keyMaker) read(ctx context.Context, path, purpose string) (KeyMaterial, error) {
	m, err := ReadKeyFile(path, purpose)
	if err != nil || k.keeper == nil {
		return m, err
	}
	return m.Open(ctx, k.keeper)
}

// CreateKeyFile writes a key, as it is or in its envelope, readable by its owner
// alone. The file appears complete or not at all, and never replaces one: the
// error is fs.ErrExist then.
func CreateKeyFile(path string, m KeyMaterial) error {
	return writeKeyFile(path, m, os.Link)
}

// ReplaceKeyFile is CreateKeyFile for a file that is there. A crash leaves the
// old key or the new one.
func ReplaceKeyFile(path string, m KeyMaterial) error {
	return writeKeyFile(path, m, os.Rename)
}

// writeKeyFile writes the whole file beside its place and puts it there.
func writeKeyFile(path string, m KeyMaterial, put func(from, to string) error) error {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return fmt.Errorf("writing %s key: %w", m.Purpose, err)
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.WriteString(m.content())
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("writing %s key: %w", m.Purpose, err)
	}
	if err := put(file.Name(), path); err != nil {
		return fmt.Errorf("writing %s key: %w", m.Purpose, err)
	}
	entry, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("writing %s key: %w", m.Purpose, err)
	}
	if err := errors.Join(entry.Sync(), entry.Close()); err != nil {
		return fmt.Errorf("writing %s key: %w", m.Purpose, err)
	}
	return nil
}
