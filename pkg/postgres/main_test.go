package postgres_test

import (
	"testing"

	"github.com/metiva-io/metiva/pkg/embedded/postgres/postgrestest"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }
