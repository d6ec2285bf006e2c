// Package chromium finds a Chromium on the machine and starts it headless, for
// the tests of the snippet and for the visits of the demo.
//
// Enters: an environment and a path. Leaves: a chromedp context with a new
// profile of its own. It downloads nothing (.ci/tools/chromium installs) and
// keeps nothing: the profile is deleted with the browser. It is the only
// package besides tests and cmd that may import chromedp, and nothing the
// collector's binary links.
package chromium
