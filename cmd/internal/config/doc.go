// Package config reads the configuration of a process from its flags and the
// environment, and says everything that is wrong with it at once.
//
// Enters: arguments and environment variables; a flag wins over a variable, a
// variable over the default. Leaves: plain structs the packages take. Nothing
// else in the product reads the environment.
//
// The parts here (Process, Kafka, ClickHouse, Postgres, Keys) are shared by
// the processes; each adds its own in cmd/internal/app. Validate of each part
// refuses in production what would be unsafe there, and says what to set.
package config
