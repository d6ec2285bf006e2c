// Command build writes the snippet's bundle; go generate runs it.
//
// Enters: the folder src beside the working directory. Leaves: the file named
// by -out, and on standard output the sizes, the last line as JSON.
package main
