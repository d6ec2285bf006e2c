// Package metivav1 is the contract's first version: Go generated from
// schemas/proto/metiva/v1 by `make generate`. The comments of the messages and
// their limits are in the .proto files; this file alone is written by hand.
package metivav1
