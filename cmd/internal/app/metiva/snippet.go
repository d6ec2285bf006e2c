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

// Run prints one line a script, the present one first.
func (c *snippetIntegrity) Run(t terminal) error {
	released, err := snippet.Released()
	if err != nil {
		return err
	}
	present := snippet.Version(snippet.Script())
	t.printf("%s  %s\n", pinnedURL(c.Collector), snippet.Integrity(snippet.Script()))
	for i := len(released) - 1; i >= 0; i-- {
		if version := snippet.Version(released[i]); version != present {
			t.printf("%s  %s\n", versionURL(c.Collector, version), snippet.Integrity(released[i]))
		}
	}
	return nil
}

func versionURL(collectorURL, version string) string {
	return collectorURL + "/v1/s." + version + ".js"
}

// pinnedURL is where the present script stays.
func pinnedURL(collectorURL string) string {
	return versionURL(collectorURL, snippet.Version(snippet.Script()))
}

// pinnedTag is the element for a page that pins the present script.
func pinnedTag(collectorURL, siteKey string) string {
	return fmt.Sprintf(`<script async src="%s" integrity="%s" crossorigin="anonymous" data-site="%s"></script>`,
		pinnedURL(collectorURL), snippet.Integrity(snippet.Script()), siteKey)
}
