package kms_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/seal/kms"
	"github.com/metiva-io/metiva/pkg/seal/kms/kmstest"
)

// selfSigned is a certificate that signed nothing of the server's.
func selfSigned(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "other"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestFaultyConfiguration(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	write := func(content string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const canary = "canary-9f"
	for name, c := range map[string]struct {
		change func(*kms.Config)
		want   string // empty: no fault
	}{
		"nothing wrong":         {func(*kms.Config) {}, ""},
		"deeper mount":          {func(c *kms.Config) { c.URI = "hcvault://v.example/a/b/keys/n" }, ""},
		"system's authorities":  {func(c *kms.Config) { c.CAFile = "" }, ""},
		"group may read it":     {func(c *kms.Config) { c.TokenFile = write("t", 0o640) }, ""},
		"no URI":                {func(c *kms.Config) { c.URI = "" }, "must be hcvault://"},
		"other scheme":          {func(c *kms.Config) { c.URI = "https://v.example/transit/keys/" + canary }, "must be hcvault://"},
		"no host":               {func(c *kms.Config) { c.URI = "hcvault:///transit/keys/n" }, "must be hcvault://"},
		"a user":                {func(c *kms.Config) { c.URI = "hcvault://u:" + canary + "@v.example/transit/keys/n" }, "must not have a user"},
		"a query":               {func(c *kms.Config) { c.URI = "hcvault://v.example/transit/keys/n?token=" + canary }, "must not have a user, a query"},
		"no mount":              {func(c *kms.Config) { c.URI = "hcvault://v.example/keys/" + canary }, "the path of the key's URI"},
		"no name":               {func(c *kms.Config) { c.URI = "hcvault://v.example/transit/keys/" }, "the path of the key's URI"},
		"another path":          {func(c *kms.Config) { c.URI = "hcvault://v.example/transit/encrypt/n" }, "the path of the key's URI"},
		"way up":                {func(c *kms.Config) { c.URI = "hcvault://v.example/../keys/n" }, "the path of the key's URI"},
		"way up, escaped":       {func(c *kms.Config) { c.URI = "hcvault://v.example/%2e%2e/keys/n" }, "the path of the key's URI"},
		"a slash, escaped":      {func(c *kms.Config) { c.URI = "hcvault://v.example/a%2fb/keys/n" }, "the path of the key's URI"},
		"no token file":         {func(c *kms.Config) { c.TokenFile = "" }, "token is missing"},
		"token file is away":    {func(c *kms.Config) { c.TokenFile = "/nowhere/token" }, "no such file"},
		"token for all to read": {func(c *kms.Config) { c.TokenFile = write(canary, 0o644) }, "chmod 600"},
		"empty token":           {func(c *kms.Config) { c.TokenFile = write("\n", 0o600) }, "must hold the token alone"},
		"two tokens":            {func(c *kms.Config) { c.TokenFile = write("a\n"+canary, 0o600) }, "must hold the token alone"},
		"not a token":           {func(c *kms.Config) { c.TokenFile = write(canary+"\x00", 0o600) }, "must hold the token alone"},
		"endless token":         {func(c *kms.Config) { c.TokenFile = write(strings.Repeat("a", 9<<10), 0o600) }, "must hold the token alone"},
		"authorities are away":  {func(c *kms.Config) { c.CAFile = "/nowhere/ca" }, "no such file"},
		"no authorities":        {func(c *kms.Config) { c.CAFile = write(canary, 0o600) }, "no PEM certificate"},
		"namespace":             {func(c *kms.Config) { c.Namespace = "a\r\nX-Other: 1" }, "control characters"},
		"no time":               {func(c *kms.Config) { c.Timeout = 0 }, "longer than zero"},
		"time backwards":        {func(c *kms.Config) { c.TryTimeout = -1 }, "must not be negative"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(srv)
			c.change(&cfg)
			err := cfg.Validate()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("a value is repeated: %v", err)
			}
			if _, newErr := kms.New(cfg, nil); (newErr == nil) != (err == nil) {
				t.Errorf("New says %v", newErr)
			}
		})
	}
}

// FuzzURI: a URI that is taken names a host and a key, and nothing that could be
// another request.
func FuzzURI(f *testing.F) {
	for _, seed := range []string{
		"hcvault://vault.example:8200/transit/keys/metiva", "hcvault://[::1]:8200/a/b/keys/c", "hcvault://v/t/keys/a%20b",
		"hcvault://v/t/keys/..", "hcvault://u@v/t/keys/n", "hcvault:/t/keys/n", "HCVAULT://v/t/keys/n", "hcvault://v/t/keys/n#x",
	} {
		f.Add(seed)
	}
	token := filepath.Join(f.TempDir(), "token")
	if err := os.WriteFile(token, []byte("t"), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		k, err := kms.New(kms.Config{URI: uri, TokenFile: token, Timeout: time.Second}, nil)
		if err != nil {
			return
		}
		u, err := url.Parse(uri)
		if err != nil || u.Host == "" || u.Host != k.Host() || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("%q is taken: %v", uri, err)
		}
		if clean := "/" + strings.Join(strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' }), "/"); clean != u.Path || strings.Contains(u.Path+"/", "/../") {
			t.Fatalf("%q is taken", uri)
		}
	})
}
