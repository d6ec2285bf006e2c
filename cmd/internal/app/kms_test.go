package app_test

import (
	"bytes"
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/app/keeper"
	"github.com/metiva-io/metiva/cmd/internal/config"
	"github.com/metiva-io/metiva/pkg/obs"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/seal/kms"
	"github.com/metiva-io/metiva/pkg/seal/kms/kmstest"
)

func settings(srv *kmstest.Server) config.KMS {
	return config.KMS{URI: srv.URI("metiva"), TokenFile: srv.TokenFile, CAFile: srv.CAFile, Timeout: 2 * time.Second}
}

// enveloped is complete with the secret keys in envelopes, and a former resolver
// key.
func enveloped(t *testing.T, srv *kmstest.Server) map[string]string {
	t.Helper()
	env := complete(t)
	keys := env["METIVA_KEYS_DIR"]
	former := filepath.Join(keys, "resolver-private.2025.key")
	if err := os.Rename(filepath.Join(complete(t)["METIVA_KEYS_DIR"], "resolver-private.key"), former); err != nil {
		t.Fatal(err)
	}
	set := settings(srv)
	k, err := keeper.New(&set, obs.NewLogger(t.Output(), "test", 0))
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{former: seal.PurposeResolverPrivate}
	for _, purpose := range seal.SecretPurposes() {
		paths[filepath.Join(keys, seal.KeyFileName(purpose))] = purpose
	}
	for path, purpose := range paths {
		m, err := seal.ReadKeyFile(path, purpose)
		if err == nil {
			m, err = m.Envelop(t.Context(), k)
		}
		if err == nil {
			err = seal.ReplaceKeyFile(path, m)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	maps.Copy(env, map[string]string{
		"METIVA_KMS_URI": set.URI, "METIVA_KMS_TOKEN_FILE": set.TokenFile, "METIVA_KMS_CA_FILE": set.CAFile, "METIVA_KMS_TIMEOUT": "300ms",
	})
	return env
}

// start runs a process with a context that lives; what it prints is returned.
func start(t *testing.T, name string, env map[string]string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := processes()[name].run(t.Context(), app.System{Stdout: &out, Stderr: &out, Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
	if err != nil {
		out.WriteString(err.Error())
	}
	if strings.Contains(out.String(), kmstest.Token) {
		t.Errorf("the token is printed: %s", out.String())
	}
	return out.String(), err
}

func TestTheFormOfKeyFilesFitsTheConfiguration(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	for name, c := range map[string]struct {
		process string
		change  func(env map[string]string)
		want    string
	}{
		"nothing wrong":           {"enrich", func(map[string]string) {}, "the configuration is complete"},
		"envelopes and no KMS":    {"enrich", func(env map[string]string) { env["METIVA_KMS_URI"] = "" }, "resolver-private.key in METIVA_KEYS_DIR is an envelope: set METIVA_KMS_URI and METIVA_KMS_TOKEN_FILE"},
		"former envelope, no KMS": {"enrich", func(env map[string]string) { env["METIVA_KMS_URI"] = "" }, "resolver-private.2025.key in METIVA_KEYS_DIR is an envelope"},
		"a KMS and plain keys":    {"enrich", func(env map[string]string) { env["METIVA_KEYS_DIR"] = complete(t)["METIVA_KEYS_DIR"] }, "holds the key itself although METIVA_KMS_URI is set: run metiva keys wrap"},
		"one plain former key": {"enrich", func(env map[string]string) {
			if err := os.Rename(filepath.Join(complete(t)["METIVA_KEYS_DIR"], "resolver-private.key"), filepath.Join(env["METIVA_KEYS_DIR"], "resolver-private.2024.key")); err != nil {
				t.Error(err)
			}
		}, "resolver-private.2024.key in METIVA_KEYS_DIR holds the key itself"},
		"a faulty URI":             {"enrich", func(env map[string]string) { env["METIVA_KMS_URI"] = "https://canary-password@kms" }, "hcvault://host:port/mount/keys/name"},
		"no token":                 {"enrich", func(env map[string]string) { env["METIVA_KMS_TOKEN_FILE"] = "" }, "the file with the KMS's token is missing"},
		"a collector asks no KMS":  {"collector", func(map[string]string) {}, "edge-private.key in METIVA_KEYS_DIR is an envelope, and this process asks no KMS: put the key itself into a file system in memory with metiva keys open"},
		"and its token key either": {"collector", func(map[string]string) {}, "consent-token.key in METIVA_KEYS_DIR is an envelope"},
		"core reads a public key":  {"core", func(map[string]string) {}, "the configuration is complete"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := enveloped(t, srv)
			c.change(env)
			if out, _ := check(t, processes()[c.process], env, "--check"); !strings.Contains(out, c.want) {
				t.Errorf("got %q, want %q", out, c.want)
			}
		})
	}
}

func TestEnrichOpensItsKeysAtTheStart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault func(n int, w http.ResponseWriter, r *http.Request) bool
		want  []string
	}{
		// The next thing at fault is the empty database of complete.
		"opens both": {nil, []string{"asn.mmdb"}},
		"away": {func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			kmstest.Fail(w, http.StatusServiceUnavailable, "Vault is sealed")
			return true
		}, []string{"Vault is sealed", "tries in 300ms", "unsealed and reached from here, and METIVA_KMS_URI", "trying again"}},
		"denied": {func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			kmstest.Fail(w, http.StatusForbidden, "permission denied")
			return true
		}, []string{"resolver-private key", "permission denied", "METIVA_KMS_TOKEN_FILE"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := kmstest.Start(t)
			env := enveloped(t, srv)
			srv.Fault(c.fault)
			out, err := start(t, "enrich", env)
			if err == nil || errors.Is(err, app.ErrConfiguration) {
				t.Fatalf("got %v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in %s", want, out)
				}
			}
			if n := len(srv.Requests()); c.fault == nil && n != 2 {
				t.Errorf("%d requests for two keys", n)
			}
		})
	}
}

// TestOpenedKeysNeedNoKMS: after the start the KMS may go away.
func TestOpenedKeysNeedNoKMS(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	env, set := enveloped(t, srv), settings(srv)
	keys, err := app.CheckResolvers(&config.Keys{Dir: env["METIVA_KEYS_DIR"]}, &config.Process{Env: config.Production}, &set)
	if err != nil || len(keys) != 2 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	if _, err := app.NewOpener(keys); !errors.Is(err, seal.ErrEnveloped) {
		t.Errorf("an opener of closed envelopes: %v", err)
	}
	if keys, err = keeper.Open(t.Context(), &set, obs.NewLogger(t.Output(), "test", 0), keys); err != nil {
		t.Fatal(err)
	}
	srv.Fault(func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		kmstest.Fail(w, http.StatusServiceUnavailable, "Vault is sealed")
		return true
	})
	if _, err := app.NewOpener(keys); err != nil || len(srv.Requests()) != 0 {
		t.Errorf("%v after %d requests", err, len(srv.Requests()))
	}
}

// TestDevelopmentTakesPlainKeysBesideAKMS: trying a KMS on a developer's machine
// does not need every key wrapped.
func TestDevelopmentTakesPlainKeysBesideAKMS(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	set := settings(srv)
	dir := t.TempDir()
	if err := seal.GenerateDevelopmentKeys(dir); err != nil {
		t.Fatal(err)
	}
	keys, err := app.CheckResolvers(&config.Keys{Dir: dir}, &config.Process{Env: config.Development}, &set)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keeper.Open(t.Context(), &set, obs.NewLogger(t.Output(), "test", 0), keys); err != nil || len(srv.Requests()) != 0 {
		t.Errorf("%v after %d requests", err, len(srv.Requests()))
	}
}

// TestEveryFaultOfTheKMSNamesASetting holds the advice and the errors together.
func TestEveryFaultOfTheKMSNamesASetting(t *testing.T) {
	t.Parallel()
	for _, fault := range []error{kms.ErrUnavailable, kms.ErrUntrusted, kms.ErrDenied, kms.ErrNotFound, kms.ErrRefused, kms.ErrAnswer, kms.ErrEnvironment} {
		if err := keeper.Advise(fault, "vault.example"); !errors.Is(err, fault) || !strings.Contains(err.Error(), "METIVA_KMS_") {
			t.Errorf("got %v", err)
		}
	}
}
