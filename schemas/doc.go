// Package schemas is the contract between the stages: the messages on Kafka
// (metivav1, generated from proto), the topics they travel on, the closed sets
// of reasons and verdicts, and the tables of ClickHouse and Postgres as
// migration files.
//
// Enters: nothing. Leaves: types, names and files. It imports only the
// standard library and protobuf, so that every stage can import it and none
// needs another stage.
package schemas
