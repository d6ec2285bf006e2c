package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/andybalholm/brotli"
	"github.com/evanw/esbuild/pkg/api"
)

// BrotliBytesMax is what the snippet may weigh on the wire when all of it is
// there, consent, banner and form capture included.
const BrotliBytesMax = 3000

// AdaptersBrotliBytesMax is what the adapters of consent platforms may weigh. Only
// pages with such a platform load them.
const AdaptersBrotliBytesMax = 3000

// Entry is the file a bundle begins with, in the folder src.
type Entry string

// The files pages load.
const (
	Script   Entry = "main.ts"
	Adapters Entry = "cmp/cmp.ts"
	Banner   Entry = "banner/banner.ts"
)

// Build bundles an entry of the folder src and returns the minified file.
func Build(src string, entry Entry) ([]byte, error) {
	abs, err := filepath.Abs(src)
	if err != nil {
		return nil, fmt.Errorf("locating the snippet's source: %w", err)
	}
	// The banner is loaded by import(), and says what it is by its export.
	format := api.FormatIIFE
	if entry == Banner {
		format = api.FormatESModule
	}
	result := api.Build(api.BuildOptions{
		AbsWorkingDir: abs,
		EntryPoints:   []string{string(entry)},
		Bundle:        true,
		Format:        format,
		Target:        api.ES2020,
		Platform:      api.PlatformBrowser,
		Charset:       api.CharsetASCII,
		LegalComments: api.LegalCommentsNone,

		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		// Configuration of the machine must not change the bytes.
		TsconfigRaw: `{"compilerOptions":{"alwaysStrict":false}}`,
		LogLevel:    api.LogLevelSilent,
	})
	var faults []error
	for _, m := range result.Errors {
		if m.Location != nil {
			faults = append(faults, fmt.Errorf("%s:%d: %s", m.Location.File, m.Location.Line, m.Text))
			continue
		}
		faults = append(faults, errors.New(m.Text))
	}
	for _, m := range result.Warnings {
		faults = append(faults, fmt.Errorf("warning: %s", m.Text))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("bundling the snippet: %w", err)
	}
	if n := len(result.OutputFiles); n != 1 {
		return nil, fmt.Errorf("bundling the snippet: %d output files, want one", n)
	}
	return result.OutputFiles[0].Contents, nil
}

// Sizes are the weight of a script in bytes.
type Sizes struct {
	Raw    int `json:"bytes_raw"`
	Brotli int `json:"bytes_brotli"` // at the best quality, as a server compresses a file once
}

// SizesOf measures a script.
func SizesOf(script []byte) (Sizes, error) {
	var packed bytes.Buffer
	w := brotli.NewWriterLevel(&packed, brotli.BestCompression)
	if _, err := w.Write(script); err != nil {
		return Sizes{}, fmt.Errorf("compressing the snippet: %w", err)
	}
	if err := w.Close(); err != nil {
		return Sizes{}, fmt.Errorf("compressing the snippet: %w", err)
	}
	return Sizes{Raw: len(script), Brotli: packed.Len()}, nil
}
