package sink

import (
	"os"
	"testing"

	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
)

func TestMain(m *testing.M) { os.Exit(clickhousetest.Main(m)) }
