// Package kmstest serves the encrypt and decrypt calls of Vault's transit engine
// on loopback with TLS, for tests that need a KMS.
//
// Enters: requests as Vault's HTTP interface documents them, a token, and faults
// a test asks for. Leaves: answers and errors in the words of the engine: keys of
// type aes256-gcm96 with versions, associated_data, "vault:vN:" before the
// ciphertext. Statuses and words were compared with the engine itself (release
// 1.21.4) on the same requests.
//
// Limits: no policies (a token may use all keys, or one purpose), no creation of
// keys by encrypting, no derived keys, no batches.
package kmstest
