// Package secret holds values that must not be printed: passwords, connection
// URLs with credentials, keys in configuration.
//
// Enters: text from the environment, a flag or a file. Leaves: the same text,
// only through Reveal. Every other way of looking at it (fmt, slog, JSON,
// errors built with %v) shows three asterisks.
package secret
