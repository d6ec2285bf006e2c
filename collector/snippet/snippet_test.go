package snippet_test

import (
	"bytes"
	"testing"

	"github.com/metiva-io/metiva/collector/snippet"
	"github.com/metiva-io/metiva/collector/snippet/internal/bundle"
)

func TestScriptIsWhatTheSourceBuilds(t *testing.T) {
	t.Parallel()
	built, err := bundle.Script("src")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(built, snippet.Script()) {
		t.Error("s.js differs from what src builds: run `go generate ./collector/snippet`")
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
	if built, _ := bundle.Script("src"); !bytes.Equal(built, snippet.Script()) {
		t.Error("a caller changed the embedded script")
	}
}
