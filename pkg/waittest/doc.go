// Package waittest lets a test wait for something that another goroutine or
// process does, without sleeping for a guess.
//
// Enters: a condition and a limit. Leaves: nothing once it holds; a failed
// test that says what did not come about once the limit has passed.
package waittest
