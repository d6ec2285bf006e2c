package seal

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
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
		if err == nil && !m.Enveloped() && m.check() != nil {
			t.Fatal("read a key that does not check")
		}
	})
}

func TestExposedKeyFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := GenerateProductionKeys(dir); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		purpose string
		mode    os.FileMode
		want    string
	}{
		{PurposeResolverPrivate, 0o600, ""},
		{PurposeResolverPrivate, 0o400, ""},
		{PurposeResolverPrivate, 0o604, "can be read"},
		{PurposeEdgePrivate, 0o644, "can be read"},
		{PurposeConsentToken, 0o620, "can be changed"},
		{PurposeConsentToken, 0o604, "can be read"},
		{PurposeResolverPublic, 0o644, ""},
		{PurposeResolverPublic, 0o666, "can be changed"},
		{PurposeEdgePublic, 0o664, "can be changed"},
	} {
		path := filepath.Join(dir, KeyFileName(c.purpose))
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		m, err := ReadKeyFile(path, c.purpose)
		if err != nil {
			t.Fatal(err)
		}
		err = m.Exposed()
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "chmod 600")) {
			t.Errorf("%s with mode %o: %v", c.purpose, c.mode, err)
		}
	}
	// A group may read what belongs to root and is handed to another user.
	path := filepath.Join(dir, KeyFileName(PurposeEdgePrivate))
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	for euid, want := range map[int]bool{0: true, 12345: owner != 0} {
		if got := exposure(info, true, euid) != ""; got != want {
			t.Errorf("file of %d read by %d: exposed is %v", owner, euid, got)
		}
	}
}

func TestFormerKeyFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"resolver-private.key", "resolver-private.b.key", "resolver-private.a.key", "resolver-private..key", "resolver-private.a.key~", "resolver-private-x.key", "edge-private.a.key"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := FormerKeyFiles(dir, PurposeResolverPrivate)
	if err != nil || len(got) != 2 || filepath.Base(got[0]) != "resolver-private.a.key" || filepath.Base(got[1]) != "resolver-private.b.key" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := FormerKeyFiles(filepath.Join(dir, "absent"), PurposeResolverPrivate); err == nil {
		t.Error("an absent directory was listed")
	}
}
