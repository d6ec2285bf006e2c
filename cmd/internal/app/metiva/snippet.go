package metiva

import (
	"fmt"

	"github.com/metiva-io/metiva/collector/snippet"
)

type snippetCommand struct {
	Integrity snippetIntegrity `cmd:"" help:"Print the address and the integrity hash of the present script and of the released ones that are still served."`
}

type snippetIntegrity struct {
	Collector string `default:"https://YOUR-COLLECTOR" help:"Address of the collector."`
}

// Run prints one line a script, the present one first, and then those of the adapters.
func (c *snippetIntegrity) Run(t terminal) error {
	for _, file := range []struct {
		name     string
		present  []byte
		released func() ([][]byte, error)
	}{{"s", snippet.Script(), snippet.Released}, {"cmp", snippet.Adapters(), snippet.ReleasedAdapters}} {
		released, err := file.released()
		if err != nil {
			return err
		}
		printed := map[string]bool{}
		for i := len(released); i >= 0; i-- {
			script := file.present
			if i < len(released) {
				script = released[i]
			}
			if version := snippet.Version(script); !printed[version] {
				printed[version] = true
				t.printf("%s  %s\n", versionURL(c.Collector, file.name, version), snippet.Integrity(script))
			}
		}
	}
	return nil
}

func versionURL(collectorURL, name, version string) string {
	return collectorURL + "/v1/" + name + "." + version + ".js"
}

// pinnedURL is where the present script stays.
func pinnedURL(collectorURL string) string {
	return versionURL(collectorURL, "s", snippet.Version(snippet.Script()))
}

// pinnedTag is the element for a page that pins the present script.
func pinnedTag(collectorURL, siteKey string) string {
	return fmt.Sprintf(`<script async src="%s" integrity="%s" crossorigin="anonymous" data-site="%s"></script>`,
		pinnedURL(collectorURL), snippet.Integrity(snippet.Script()), siteKey)
}
