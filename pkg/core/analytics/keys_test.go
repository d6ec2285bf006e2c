package analytics

import (
	"context"
	"slices"
	"testing"

	"github.com/metiva-io/metiva/pkg/clickhouse"
)

// TestAKeyIsItsValues: whatever stands in the values, a key comes apart into them again,
// and no two lists have one key.
func TestAKeyIsItsValues(t *testing.T) {
	t.Parallel()
	c := migrated(t)
	seen := make(map[string][]string)
	texts := []string{"", "a", `\`, "\n", `\n`, "\\\n", `a\\n` + "\n", "é\x00\t"}
	for i, first := range texts {
		for j := range 3 {
			values := []string{first, texts[(i+j+1)%len(texts)], texts[(i*3+j)%len(texts)]}
			var key string
			err := c.QueryRow(context.Background(), "SELECT "+campaignKey+" FROM (SELECT {a:String} AS first_campaign_source, {b:String} AS first_campaign_medium, {c:String} AS first_campaign_name)",
				clickhouse.Param("a", values[0]), clickhouse.Param("b", values[1]), clickhouse.Param("c", values[2])).Scan(&key)
			if err != nil {
				t.Fatal(err)
			}
			if got := keyValues(key); !slices.Equal(got, values) {
				t.Errorf("%q became %q", values, got)
			}
			if other, ok := seen[key]; ok && !slices.Equal(other, values) {
				t.Errorf("%q and %q have one key", values, other)
			}
			seen[key] = values
		}
	}
}
