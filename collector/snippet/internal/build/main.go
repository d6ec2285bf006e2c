package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/metiva-io/metiva/collector/snippet"
	"github.com/metiva-io/metiva/collector/snippet/internal/bundle"
)

func main() {
	src := flag.String("src", "src", "folder of the TypeScript source")
	out := flag.String("out", ".", "folder to write the scripts to")
	release := flag.String("release", "", "folder of released scripts, to keep these in; left out when building")
	flag.Parse()
	if err := run(*src, *out, *release); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(src, out, release string) error {
	if _, err := build(src, filepath.Join(out, "cmp.js"), bundle.Adapters, release, "cmp"); err != nil {
		return err
	}
	if _, err := build(src, filepath.Join(out, "banner.js"), bundle.Banner, "", ""); err != nil {
		return err
	}
	sizes, err := build(src, filepath.Join(out, "s.js"), bundle.Script, release, "")
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(sizes)
}

// build writes one script, and keeps it in the folder under release when there
// is one.
func build(src, out string, entry bundle.Entry, release, folder string) (bundle.Sizes, error) {
	script, err := bundle.Build(src, entry)
	if err != nil {
		return bundle.Sizes{}, err
	}
	sizes, err := bundle.SizesOf(script)
	if err != nil {
		return bundle.Sizes{}, err
	}
	if err := os.WriteFile(out, script, 0o644); err != nil {
		return bundle.Sizes{}, fmt.Errorf("writing the bundle: %w", err)
	}
	limit := bundle.BrotliBytesMax
	if entry == bundle.Adapters {
		limit = bundle.AdaptersBrotliBytesMax
	}
	fmt.Printf("%s: %d bytes, %d with brotli (at most %d)\n", filepath.Base(out), sizes.Raw, sizes.Brotli, limit)
	if release != "" {
		version, err := bundle.Release(filepath.Join(release, folder), script)
		if err != nil {
			return bundle.Sizes{}, err
		}
		fmt.Printf("released as %s, %s\n", version, snippet.Integrity(script))
	}
	return sizes, nil
}
