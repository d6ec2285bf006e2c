package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/metiva-io/metiva/cmd/internal/config"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/seal/kms"
)

func configOf(c *config.KMS) kms.Config {
	return kms.Config{URI: c.URI, TokenFile: c.TokenFile, CAFile: c.CAFile, Namespace: c.Namespace, Timeout: c.Timeout}
}

// Validate joins every fault of the settings; none where no KMS is set. It does
// not ask the KMS.
func Validate(c *config.KMS) error {
	if !c.IsSet() {
		return nil
	}
	if err := configOf(c).Validate(); err != nil {
		return fmt.Errorf("%s is set, and METIVA_KMS_* are at fault:\n%w", config.KMSURI, err)
	}
	return nil
}

// New is the KMS of the settings.
func New(c *config.KMS, log *slog.Logger) (*kms.KMS, error) {
	if !c.IsSet() {
		return nil, errors.New(config.KMSURI + " is missing: set the key that opens envelopes, hcvault://host:port/mount/keys/name")
	}
	if err := Validate(c); err != nil {
		return nil, err
	}
	return kms.New(configOf(c), log)
}

// Open opens those keys that are in envelopes. It asks the KMS once for each, and
// nothing where there are none.
func Open(ctx context.Context, c *config.KMS, log *slog.Logger, keys []seal.KeyMaterial) ([]seal.KeyMaterial, error) {
	var opened []seal.KeyMaterial
	var keeper *kms.KMS
	for _, m := range keys {
		if m.Enveloped() && keeper == nil {
			var err error
			if keeper, err = New(c, log); err != nil {
				return nil, err
			}
		}
		m, err := m.Open(ctx, keeper)
		if err != nil {
			return nil, Advise(err, keeper.Host())
		}
		opened = append(opened, m)
	}
	return opened, nil
}

// Advise says what to look at for a fault of the KMS at host.
func Advise(err error, host string) error {
	var advice string
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, kms.ErrUnavailable):
		advice = "check that " + host + " is up, unsealed and reached from here, and " + config.KMSURI
	case errors.Is(err, kms.ErrUntrusted):
		advice = "set " + config.KMSCAFile + " to the authority of " + host + ", and the name in its certificate in " + config.KMSURI
	case errors.Is(err, kms.ErrDenied):
		advice = "put a valid token into " + config.KMSTokenFile + ", with a policy that may update the key's encrypt or decrypt path for this purpose"
	case errors.Is(err, kms.ErrNotFound):
		advice = "check the mount and the key's name in " + config.KMSURI
	case errors.Is(err, kms.ErrRefused), errors.Is(err, seal.ErrTampered):
		advice = "the file was made with another key than " + config.KMSURI + " names, or was changed, or belongs to another purpose; put back the one metiva keys made"
	case errors.Is(err, kms.ErrEnvironment):
		advice = "take VAULT_* out of this process's environment; METIVA_KMS_* are all it needs"
	case errors.Is(err, kms.ErrAnswer):
		advice = config.KMSURI + " must name the transit engine of a Vault or OpenBao at " + host
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, advice)
}
