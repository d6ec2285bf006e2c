package clickhouse

import (
	"sync"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// shapes are the types of the columns of each insert, as the server said them. Over
// HTTP the driver asks for the whole table before every insert otherwise. An insert
// that fails forgets its own: the table may have changed since.
type shapes struct {
	mu    sync.Mutex
	known map[string][]driver.ColumnNameAndType
}

func (s *shapes) of(sql string) ([]driver.ColumnNameAndType, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shape, known := s.known[sql]
	return shape, known
}

func (s *shapes) note(sql string, columns []column.Interface) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.known[sql]; known {
		return
	}
	if s.known == nil {
		s.known = make(map[string][]driver.ColumnNameAndType)
	}
	shape := make([]driver.ColumnNameAndType, len(columns))
	for i, c := range columns {
		shape[i] = driver.ColumnNameAndType{Name: c.Name(), Type: string(c.Type())}
	}
	s.known[sql] = shape
}

func (s *shapes) forget(sql string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, sql)
}
