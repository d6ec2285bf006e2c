// Package kms encrypts and decrypts the keys of key files with a key that never
// leaves a key management system, through Tink.
//
// Enters: a Config naming a key of the transit engine of HashiCorp Vault, or of
// OpenBao, which has the same interface; a secret key and what it is bound to.
// Leaves: Tink's KMS envelope: a fresh data key encrypted by the KMS, and the
// secret key encrypted by the data key with AES-256-GCM. What the KMS sees is the
// data key, never the secret key.
//
// The binding is checked twice: here, by AES-GCM over the whole binding, whatever
// the KMS does; and by the KMS, which gets AssociatedData(purpose) with the data
// key, so that its policies can allow a token the keys of one purpose only.
//
// # Failures
//
// ErrUnavailable (no answer, 412, 429, 5xx) is tried again until Config.Timeout
// has passed. Everything else is final: ErrUntrusted (certificate), ErrDenied
// (token), ErrNotFound (mount or key), ErrRefused (envelope), ErrAnswer (not the
// answer of a transit engine), ErrEnvironment (a VAULT_* variable that Vault's
// client cannot read). Errors hold the engine's own words, shortened, and never a
// token or a byte of a key; other answers are not repeated.
//
// # Limits
//
// Always TLS, straight to the host of the URI: no proxy, and one redirect at
// most, to HTTPS. The variables Vault's own tools read (VAULT_*) change nothing,
// except that a malformed one ends the start.
// The token's file is read for every request, so it may be renewed beside the
// process; it is not renewed here. Nothing is asked of the KMS after the keys are
// open, and nothing is kept open to it.
package kms
