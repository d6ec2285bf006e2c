package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"github.com/metiva-io/metiva/collector/snippet"
	"github.com/metiva-io/metiva/collector/snippet/internal/bundle"
)

func main() {
	src := flag.String("src", "src", "folder of the TypeScript source")
	out := flag.String("out", "s.js", "file to write")
	release := flag.String("release", "", "folder of released scripts, to keep this one in; left out when building")
	flag.Parse()
	if err := run(*src, *out, *release); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(src, out, release string) error {
	script, err := bundle.Script(src)
	if err != nil {
		return err
	}
	sizes, err := bundle.SizesOf(script)
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, script, 0o644); err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	fmt.Printf("%s: %d bytes, %d with brotli (at most %d)\n", out, sizes.Raw, sizes.Brotli, bundle.BrotliBytesMax)
	if release != "" {
		version, err := bundle.Release(release, script)
		if err != nil {
			return err
		}
		fmt.Printf("released as %s, %s\n", version, snippet.Integrity(script))
	}
	return json.NewEncoder(os.Stdout).Encode(sizes)
}
