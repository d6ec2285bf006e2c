package kms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// KMS encrypts and decrypts keys with one key of a KMS. It is a seal.KeyKeeper.
type KMS struct {
	cfg   Config
	vault *vault
	log   *slog.Logger
}

// New checks the configuration; it does not ask the KMS.
func New(cfg Config, log *slog.Logger) (*KMS, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.TryTimeout == 0 {
		cfg.TryTimeout = tryTimeoutDefault
	}
	if cfg.RetryWait == 0 {
		cfg.RetryWait = retryWaitDefault
	}
	v, err := newVault(cfg)
	if err != nil {
		return nil, err
	}
	return &KMS{cfg: cfg, vault: v, log: log}, nil
}

// Host is where the KMS is, host or host:port.
func (k *KMS) Host() string { return k.vault.host }

// AssociatedData is what the KMS gets beside the data key of an envelope of this
// purpose. A policy of Vault names it in base64.
func AssociatedData(purpose string) []byte { return []byte("metiva key " + purpose) }

// EncryptKey makes an envelope of a secret key.
func (k *KMS) EncryptKey(ctx context.Context, purpose string, key, binding []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Timeout)
	defer cancel()
	envelope, err := k.envelope(purpose)
	if err != nil {
		return nil, err
	}
	sealed, err := envelope.EncryptWithContext(ctx, key, binding)
	return sealed, typed(err)
}

// DecryptKey opens an envelope.
func (k *KMS) DecryptKey(ctx context.Context, purpose string, sealed, binding []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Timeout)
	defer cancel()
	envelope, err := k.envelope(purpose)
	if err != nil {
		return nil, err
	}
	key, err := envelope.DecryptWithContext(ctx, sealed, binding)
	return key, typed(err)
}

func (k *KMS) envelope(purpose string) (tink.AEADWithContext, error) {
	return aead.NewKMSEnvelopeAEADWithContext(aead.AES256GCMKeyTemplate(), keyEncryption{k, purpose})
}

// typed marks what Tink itself found wrong, which is always the envelope; its
// words say nothing an operator could use.
func typed(err error) error {
	for _, known := range []error{ErrUnavailable, ErrUntrusted, ErrDenied, ErrNotFound, ErrRefused, ErrAnswer, ErrEnvironment} {
		if errors.Is(err, known) {
			return err
		}
	}
	if err != nil {
		return ErrRefused
	}
	return nil
}

// keyEncryption is the KMS's key, as Tink's envelope wants it. The envelope hands
// it no associated data; the purpose stands in for that.
type keyEncryption struct {
	kms     *KMS
	purpose string
}

// EncryptWithContext encrypts a data key.
func (e keyEncryption) EncryptWithContext(ctx context.Context, dataKey, _ []byte) ([]byte, error) {
	return e.kms.try(ctx, func(key tink.AEAD) ([]byte, error) { return key.Encrypt(dataKey, AssociatedData(e.purpose)) })
}

// DecryptWithContext decrypts a data key.
func (e keyEncryption) DecryptWithContext(ctx context.Context, sealed, _ []byte) ([]byte, error) {
	return e.kms.try(ctx, func(key tink.AEAD) ([]byte, error) { return key.Decrypt(sealed, AssociatedData(e.purpose)) })
}

// try asks the KMS until it answers or the time is over.
func (k *KMS) try(ctx context.Context, ask func(tink.AEAD) ([]byte, error)) ([]byte, error) {
	wait := k.cfg.RetryWait
	var last error
	for tries := 1; ; tries++ {
		out, err := k.once(ctx, ask)
		if err == nil || !errors.Is(err, ErrUnavailable) {
			return out, err
		}
		// A try that the end of the time cut short says less than the one before.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		k.log.Warn("the KMS does not answer, trying again", slog.String("kms", k.Host()), slog.Any("error", err))
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, fmt.Errorf("%w: %w", ErrUnavailable, context.Canceled)
			}
			return nil, fmt.Errorf("after %d tries in %v: %w", tries, k.cfg.Timeout, last)
		case <-timer.C:
		}
		wait = min(2*wait, 16*k.cfg.RetryWait)
	}
}

func (k *KMS) once(ctx context.Context, ask func(tink.AEAD) ([]byte, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, k.cfg.TryTimeout)
	defer cancel()
	key, token, err := k.vault.key(ctx)
	if err != nil {
		return nil, err
	}
	out, err := ask(key)
	if err != nil {
		return nil, classify(err, token)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: it holds nothing", ErrAnswer)
	}
	return out, nil
}
