// Package deploy holds what runs the binaries against real servers, and the
// test that keeps those files true: compose.yaml (parsed as YAML, images by
// exact tag, no secret inline), kafka/topics.tsv (equal to schemas.Topics) and
// env.example (every variable compose.yaml asks for).
//
// Enters: the files of this folder. Leaves: nothing; no process imports it.
package deploy
