package seal

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestGeneratedKeysWorkTogether(t *testing.T) {
	t.Parallel()
	for development, generate := range map[bool]func(string) error{true: GenerateDevelopmentKeys, false: GenerateProductionKeys} {
		dir := filepath.Join(t.TempDir(), "keys")
		var wg sync.WaitGroup
		for range 4 { // several starters at once
			wg.Go(func() {
				if err := generate(dir); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		keys := map[string]KeyMaterial{}
		before := map[string]string{}
		for _, purpose := range Purposes() {
			path := filepath.Join(dir, KeyFileName(purpose))
			m, err := ReadKeyFile(path, purpose)
			if err != nil {
				t.Fatal(err)
			}
			if m.Development != development {
				t.Errorf("%s: development is %v", purpose, m.Development)
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: mode %v, %v", purpose, info.Mode(), err)
			}
			keys[purpose] = m
			before[purpose] = string(m.bytes())
		}
		if err := generate(dir); err != nil {
			t.Fatal(err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != len(Purposes()) {
			t.Errorf("%d files in the key directory, %v", len(entries), err)
		}
		for purpose, m := range keys {
			again, err := ReadKeyFile(filepath.Join(dir, KeyFileName(purpose)), purpose)
			if err != nil || string(again.bytes()) != before[purpose] {
				t.Errorf("%s changed: %v", m.Purpose, err)
			}
		}
		priv, err := keys[PurposeResolverPrivate].PrivateKey()
		if err != nil {
			t.Fatal(err)
		}
		pub, err := keys[PurposeResolverPublic].PublicKey()
		if err != nil || pub.ID() != priv.Public().ID() {
			t.Errorf("the resolver's keys are not a pair: %v", err)
		}
		if len(keys[PurposeConsentToken].Secret()) != 32 || keys[PurposeEdgePrivate].Secret() != nil {
			t.Error("only the consent token key is a shared secret")
		}
		if _, err := keys[PurposeConsentToken].PrivateKey(); err == nil {
			t.Error("the consent token key is a private key")
		}
	}
}

func TestForeignHalfIsNoticed(t *testing.T) {
	t.Parallel()
	a, b := t.TempDir(), t.TempDir()
	for _, dir := range []string{a, b} {
		if err := GenerateDevelopmentKeys(dir); err != nil {
			t.Fatal(err)
		}
	}
	name := KeyFileName(PurposeEdgePublic)
	if err := os.Rename(filepath.Join(b, name), filepath.Join(a, name)); err != nil {
		t.Fatal(err)
	}
	if err := GenerateDevelopmentKeys(a); err == nil || !strings.Contains(err.Error(), "not a pair") {
		t.Fatalf("got %v", err)
	}
}

func TestBrokenKeyFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := GenerateDevelopmentKeys(dir); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, KeyFileName(PurposeConsentToken)))
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSpace(strings.SplitN(string(good), "\n", 2)[1])
	for name, content := range map[string]string{
		"empty":         "",
		"no magic":      secret,
		"no grade":      "metiva-key v1 consent-token\n" + secret,
		"other grade":   "metiva-key v1 consent-token test\n" + secret,
		"other version": "metiva-key v2 consent-token development\n" + secret,
		"other purpose": "metiva-key v1 edge-public development\n" + secret,
		"not base64":    "metiva-key v1 consent-token development\n" + secret[1:] + "!",
		"short key":     "metiva-key v1 consent-token development\nAAAA",
		"huge":          string(good) + strings.Repeat(" ", keyFileBytesMax),
	} {
		path := filepath.Join(t.TempDir(), "k")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadKeyFile(path, PurposeConsentToken)
		if err == nil {
			t.Errorf("%s was read", name)
		} else if strings.Contains(err.Error(), secret[:8]) {
			t.Errorf("%s: the error holds the key: %v", name, err)
		}
	}
	if _, err := ReadKeyFile(filepath.Join(dir, KeyFileName(PurposeEdgePublic)), PurposeEdgePrivate); err == nil {
		t.Error("a public key file was read as a private key")
	}
	if _, err := ReadKeyFile(filepath.Join(dir, "absent"), PurposeEdgePrivate); err == nil {
		t.Error("an absent file was read")
	}
}

func FuzzParseKeyFile(f *testing.F) {
	f.Add([]byte("metiva-key v1 consent-token development\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	f.Add([]byte("metiva-key v1 edge-public production\r\n!"))
	f.Fuzz(func(t *testing.T, content []byte) {
		m, err := parseKeyFile(content)
		if err == nil && m.check() != nil {
			t.Fatal("read a key that does not check")
		}
	})
}
