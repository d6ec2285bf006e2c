package snippet

import (
	"crypto/sha256"
	"crypto/sha512"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

//go:generate go run ./internal/build

//go:embed s.js
var script string

//go:embed cmp.js
var adapters string

//go:embed banner.js
var banner string

// ReleasesMax is how many released scripts are kept and served. A site with an
// integrity hash runs the release it pinned until somebody changes its pages;
// ten releases are years of that, at two or three kilobytes each.
const ReleasesMax = 10

// releases are the scripts of earlier releases, those of the adapters in the
// folder cmp, and for both a releases.txt, which lists their versions, oldest
// first.
//
//go:embed released
var releases embed.FS

// Script returns the bundled snippet, minified UTF-8 JavaScript (ES2020). The
// bytes are a copy and belong to the caller.
func Script() []byte { return []byte(script) }

// Adapters returns the second file, which reads consent platforms; otherwise as
// Script.
func Adapters() []byte { return []byte(adapters) }

// Banner returns the file with the banner, a module; otherwise as Script.
func Banner() []byte { return []byte(banner) }

// Released returns the scripts of the last releases, oldest first: what pages
// with an integrity hash go on asking for. The present one may be among them.
func Released() ([][]byte, error) { return releasedIn("released") }

// ReleasedAdapters returns the adapters of the last releases, as Released does.
func ReleasedAdapters() ([][]byte, error) { return releasedIn("released/cmp") }

func releasedIn(folder string) ([][]byte, error) {
	list, err := releases.ReadFile(folder + "/releases.txt")
	if err != nil {
		return nil, fmt.Errorf("reading the list of released scripts: %w", err)
	}
	var out [][]byte
	for _, version := range strings.Fields(string(list)) {
		body, err := releases.ReadFile(folder + "/" + version + ".js")
		if err != nil {
			return nil, fmt.Errorf("reading a released script: %w", err)
		}
		if Version(body) != version {
			return nil, fmt.Errorf("the released script %s was changed: its hash is %s", version, Version(body))
		}
		out = append(out, body)
	}
	return out, nil
}

// versionBytes of the hash name a version: no two releases will share them.
const versionBytes = 8

// Version names a script by its content, in the address /v1/s.<version>.js: the
// first bytes of its SHA-256 in lower-case hexadecimal.
func Version(script []byte) string {
	sum := sha256.Sum256(script)
	return hex.EncodeToString(sum[:versionBytes])
}

// Integrity is the value of a script element's integrity attribute (W3C
// Subresource Integrity): SHA-384 in base64.
func Integrity(script []byte) string {
	sum := sha512.Sum384(script)
	return "sha384-" + base64.StdEncoding.EncodeToString(sum[:])
}
