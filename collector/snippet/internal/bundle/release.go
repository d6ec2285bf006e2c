package bundle

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/metiva-io/metiva/collector/snippet"
)

// Release keeps a script in the folder of released ones, so that pages which pin
// it find it in every later release; the oldest beyond snippet.ReleasesMax goes.
// Releasing one again changes nothing.
func Release(folder string, script []byte) (version string, err error) {
	list := filepath.Join(folder, "releases.txt")
	raw, err := os.ReadFile(list)
	if err != nil {
		return "", fmt.Errorf("reading the list of released scripts: %w", err)
	}
	versions := strings.Fields(string(raw))
	version = snippet.Version(script)
	if slices.Contains(versions, version) {
		return version, nil
	}
	if err := os.WriteFile(filepath.Join(folder, version+".js"), script, 0o644); err != nil {
		return "", fmt.Errorf("keeping a released script: %w", err)
	}
	versions = append(versions, version)
	for len(versions) > snippet.ReleasesMax {
		if err := os.Remove(filepath.Join(folder, versions[0]+".js")); err != nil {
			return "", fmt.Errorf("dropping the oldest released script: %w", err)
		}
		versions = versions[1:]
	}
	if err := os.WriteFile(list, []byte(strings.Join(versions, "\n")+"\n"), 0o644); err != nil {
		return "", fmt.Errorf("writing the list of released scripts: %w", err)
	}
	return version, nil
}
