package metiva

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/seal/kms/kmstest"
)

// TestWrapLeavesNoKeyBehindALink: a link would be replaced by the envelope, and
// the key itself stay where the link points.
func TestWrapLeavesNoKeyBehindALink(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	for name, link := range map[string]func(old, new string) error{"symbolic": os.Symlink, "hard": os.Link} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, dir := t.TempDir(), t.TempDir()
			if err := seal.GenerateProductionKeys(store); err != nil {
				t.Fatal(err)
			}
			file := seal.KeyFileName(seal.PurposeResolverPrivate)
			if err := link(filepath.Join(store, file), filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
			out, err := command(t, "keys", "wrap", "--dir", dir, "--kms", srv.URI("metiva"), "--kms-token-file", srv.TokenFile, "--kms-ca-file", srv.CAFile)
			if err == nil || !strings.Contains(out, file+" is a link, or has another name") {
				t.Errorf("got %s", out)
			}
			if !strings.HasPrefix(read(t, filepath.Join(dir, file)), "metiva-key v1 ") {
				t.Error("the link was replaced")
			}
		})
	}
}
