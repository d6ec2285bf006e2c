package snippet_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/collector/snippet"
	"github.com/metiva-io/metiva/collector/snippet/internal/bundle"
)

func TestScriptIsWhatTheSourceBuilds(t *testing.T) {
	t.Parallel()
	for entry, committed := range map[bundle.Entry][]byte{bundle.Script: snippet.Script(), bundle.Adapters: snippet.Adapters(), bundle.Banner: snippet.Banner()} {
		built, err := bundle.Build("src", entry)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(built, committed) {
			t.Errorf("the committed bundle of %s differs from what src builds: run `go generate ./collector/snippet`", entry)
		}
	}
}

func TestScriptIsSmall(t *testing.T) {
	t.Parallel()
	sizes, err := bundle.SizesOf(snippet.Script())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, %d with brotli", sizes.Raw, sizes.Brotli)
	if sizes.Brotli > bundle.BrotliBytesMax {
		t.Errorf("%d bytes with brotli, want at most %d", sizes.Brotli, bundle.BrotliBytesMax)
	}
}

func TestScriptIsACopy(t *testing.T) {
	t.Parallel()
	snippet.Script()[0] ^= 0xff
	if built, _ := bundle.Build("src", bundle.Script); !bytes.Equal(built, snippet.Script()) {
		t.Error("a caller changed the embedded script")
	}
}

// TestReleasesAreKept: a page that pins a release must find exactly its bytes.
func TestReleasesAreKept(t *testing.T) {
	t.Parallel()
	for folder, read := range map[string]func() ([][]byte, error){"released": snippet.Released, "released/cmp": snippet.ReleasedAdapters} {
		released, err := read()
		if err != nil {
			t.Fatal(err)
		}
		if folder == "released" && len(released) == 0 || len(released) > snippet.ReleasesMax {
			t.Errorf("%d scripts in %s", len(released), folder)
		}
		files, err := filepath.Glob(folder + "/*.js")
		if err != nil || len(files) != len(released) {
			t.Errorf("%d files in %s, %d listed: %v", len(files), folder, len(released), err)
		}
	}
}

func TestReleasing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	list := filepath.Join(folder, "releases.txt")
	if err := os.WriteFile(list, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range snippet.ReleasesMax + 2 {
		for range 2 { // the second time changes nothing
			if _, err := bundle.Release(folder, fmt.Appendf(nil, "release(%d)", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	raw, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	versions := strings.Fields(string(raw))
	files, err := filepath.Glob(filepath.Join(folder, "*.js"))
	if err != nil || len(files) != snippet.ReleasesMax || len(versions) != snippet.ReleasesMax {
		t.Fatalf("%d files, %d versions: %v", len(files), len(versions), err)
	}
	if versions[0] != snippet.Version([]byte("release(2)")) || versions[len(versions)-1] != snippet.Version([]byte("release(11)")) {
		t.Errorf("kept %v", versions)
	}
}
