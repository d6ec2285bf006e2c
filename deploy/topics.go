package deploy

import (
	"fmt"
	"strings"

	"github.com/metiva-io/metiva/schemas"
)

// TopicsFile renders schemas.Topics as kafka/topics.tsv, which
// kafka/create-topics reads: name, partitions, cleanup policy and retention in
// milliseconds (-1 for compacted topics), separated by tabs.
func TopicsFile() string {
	var b strings.Builder
	b.WriteString("# name\tpartitions\tcleanup.policy\tretention.ms\tkey; written by go test ./deploy -update\n")
	for _, t := range schemas.Topics() {
		policy, retentionMs := "delete", t.Retention.Milliseconds()
		if t.Compacted() {
			policy, retentionMs = "compact", -1
		}
		fmt.Fprintf(&b, "%s\t%d\t%s\t%d\t%s\n", t.Name, t.Partitions, policy, retentionMs, t.Key)
	}
	return b.String()
}
