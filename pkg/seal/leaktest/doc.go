// Package leaktest checks, with the compiler's own types, that a visitor's
// address cannot leave the code that may handle it.
//
// Enters: the product's packages, as go list and go/types see them. Leaves:
// breaches, each with its place. Nothing of it runs in the product.
//
// Three checks:
//
//	compile       small programs that must not compile (testdata/compile): a
//	              seal.Address has no text, no bytes, no comparison, no way to
//	              reach what it holds
//	CheckFlows    no value that carries a seal.Address or its Scratch becomes an
//	              interface value, an unsafe pointer or a type argument: so none
//	              can reach fmt, log, slog, an encoder, reflect or a panic; and
//	              no type of the product implements hash.Hash, which would see
//	              what WriteNetworkTo writes. In the folders that handle visitors,
//	              no address and no network becomes text or an interface value; in those
//	              that handle what persons typed, no slice of bytes does, and nobody
//	              else opens a person's value
//	CheckNames    an unsealed address (netip.Addr, net.IP, net.Addr and their like,
//	              or a type of the product made of them) occurs as the type of an
//	              expression in listed files only, and so do the headers and
//	              fields that hold one as text
//
// Each list is exact: an entry that nothing needs any more is a breach too.
//
// Limits: the checks read the code of the product, not of its modules, and leave
// tests out. An address that a listed file turns into a string or bytes is not
// followed: those files are few and small for that reason.
package leaktest
