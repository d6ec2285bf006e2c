// Command build writes the snippet's bundles; go generate runs it.
//
// Enters: the folder src beside the working directory. Leaves: s.js and cmp.js in
// the folder named by -out, and on standard output their sizes, the last line
// those of s.js as JSON.
package main
