// Package bundle turns the snippet's TypeScript into the files browsers
// load, with esbuild's Go API.
//
// Enters: the source folder. Leaves: minified JavaScript and its sizes. It
// checks syntax only; types are checked by .ci/tools/typecheck.
package bundle
