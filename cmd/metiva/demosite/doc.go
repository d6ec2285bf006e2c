// Package demosite is a small website of a company that does not exist, De
// Groene Wand in Utrecht, with the snippet on every page: what `make up`
// serves so that a person sees visits arrive, and what headless browsers load
// in the demo. Under /test/ are pages for developers and browser tests, each one
// way to install the snippet or one thing it should notice.
//
// Enters: the collector's URL and a site key. Leaves: an http.Handler over
// embedded files. It keeps nothing, also nothing of its forms, sets no cookie, and
// loads nothing from elsewhere but the snippet.
package demosite
