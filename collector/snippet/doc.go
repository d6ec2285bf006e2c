// Package snippet is the script a site puts on its pages, and the Go that
// carries it: TypeScript in src, bundled and minified by esbuild's Go API
// (go generate), and embedded here as the bytes of /v1/s.js.
//
// Enters: nothing. Leaves: Script, the bundle. The script itself sends page
// views to the collector it was loaded from, in the wire format of
// POST /v1/events.
//
// What it keeps: nothing on the device. It reads and writes no cookie and no
// storage; events not yet acknowledged and the consent token of the page live
// in memory and end with the document. What it drops: every event when the
// browser says Global Privacy Control or Do Not Track (nothing is sent, and
// the collector counts objections it sees from pages that send anyway), views
// of a page that is still prerendering (counted once it is shown), and the
// oldest unsent events beyond the limits in src/queue.ts.
//
// Attributes of the tag: data-site, the site key; data-dnt="ignore" for a site
// whose policy does not honour Do Not Track. The collector answers beacons of
// other origins with Access-Control-Expose-Headers: Retry-After, else the
// script's own backoff counts. A beacon sent while the page goes carries
// "Origin: null" where the page's referrer policy is no-referrer.
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
