package clickhouse_test

import (
	"os"
	"testing"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/secret"
)

func TestMain(m *testing.M) { os.Exit(clickhousetest.Main(m)) }

func open(t *testing.T, url string) *clickhouse.Conn {
	t.Helper()
	c, err := clickhouse.Open(clickhouse.Config{URL: secret.New(url)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
