// Package snippet is the script a site puts on its pages, and the Go that
// carries it: TypeScript in src, bundled and minified by esbuild's Go API
// (go generate), and embedded here as the bytes of /v1/s.js.
//
// Enters: nothing. Leaves: Script, the bundle; Adapters and Banner, which it loads
// where its tag asks for them. The script sends events, choices and captures to the
// collector it was loaded from, in the wire formats of docs/openapi.yaml.
// docs/snippet.md says how it is used.
//
// What it keeps: without a choice of the visitor, nothing on the device; it does not
// look there either, unless its tag says that the site has choices. Of a choice, one
// entry of localStorage (src/record.ts). What waits to be sent lives in memory, and
// under a grant outlives the page. What it drops: everything when the browser says
// Global Privacy Control or Do Not Track or the visitor has opted out, all but page
// views without a grant, views of a page that is still prerendering, values of fields
// that are not marked or whose names speak of secrets, and the oldest unsent events
// beyond the limits in src/delivery.ts.
//
// The collector answers beacons of other origins with
// Access-Control-Expose-Headers: Retry-After, else the script's own backoff counts. A
// beacon sent while the page goes carries "Origin: null" where the page's referrer
// policy is no-referrer.
//
// Releases: pages may pin the script by its version and integrity hash, so each
// script that was released stays in the folder released and is served for as
// long as it is among the last ReleasesMax. `make snippet-release` keeps the
// present one there; it belongs to every release whose s.js differs from the
// last one's.
//
// The committed s.js is what the source builds to; a test builds it again and
// compares. Build with `go generate ./collector/snippet`, check types with
// .ci/tools/typecheck.
package snippet
