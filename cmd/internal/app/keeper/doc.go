// Package keeper opens the key files of a process with the KMS of its
// configuration.
//
// Enters: the settings of the KMS, keys as they were read. Leaves: the keys, open;
// or an error that names the setting at fault. Only processes that import this
// package link a KMS's client: the collector does not (ADR 0021).
package keeper
