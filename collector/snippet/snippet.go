package snippet

import _ "embed"

//go:generate go run ./internal/build -out s.js

//go:embed s.js
var script string

// Script returns the bundled snippet, minified UTF-8 JavaScript (ES2020). The
// bytes are a copy and belong to the caller.
func Script() []byte { return []byte(script) }
