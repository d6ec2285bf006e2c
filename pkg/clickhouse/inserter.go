package clickhouse

import (
	"bytes"
	"context"
	"reflect"
	"sync"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	rowdriver "github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Inserter inserts into one table again and again. The driver makes the columns of
// every block anew and lets them grow from nothing; an Inserter keeps those of an
// insert that succeeded, with their room, for one that follows. It is safe for
// concurrent use.
type Inserter struct {
	conn  *Conn
	table string

	mu   sync.Mutex
	kept []*block
}

// blocksKept is how many blocks' memory an Inserter keeps while none is being
// inserted: four of 20,000 events are some 25 MB. More or wider rows keep more, in
// proportion: a block has the room of the largest that it was.
const blocksKept = 4

// Inserter makes one for a table.
func (c *Conn) Inserter(table string) *Inserter { return &Inserter{conn: c, table: table} }

// Insert is Conn.Insert for the table.
func (i *Inserter) Insert(ctx context.Context, token string, columns []Column) error {
	sql := insertSQL(i.table, columns)
	b := i.take(sql)
	if err := i.conn.insert(ctx, i.table, sql, token, columns, b); err != nil {
		return err // a part of it may be on its way still: its memory is let go
	}
	i.give(b)
	return nil
}

// take is a block that was of the same statement, or an empty one.
func (i *Inserter) take(sql string) *block {
	i.mu.Lock()
	defer i.mu.Unlock()
	for at := len(i.kept) - 1; at >= 0; at-- {
		if b := i.kept[at]; b.sql == sql {
			i.kept = append(i.kept[:at], i.kept[at+1:]...)
			return b
		}
	}
	return &block{sql: sql}
}

// give keeps a block; the one that was kept longest goes for it.
func (i *Inserter) give(b *block) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.kept) == blocksKept {
		i.kept = append(i.kept[:0], i.kept[1:]...)
	}
	i.kept = append(i.kept, b)
}

// block is the memory of an insert.
type block struct {
	sql     string
	columns []column.Interface // of the insert before
	reader  *proto.Reader      // of the bytes in words; made when first needed
	words   bytes.Reader
	encoded []byte
}

// lend gives the room of the columns before to new ones of the same name and type.
func (b *block) lend(to []column.Interface) {
	for i := range min(len(b.columns), len(to)) {
		from := b.columns[i]
		if from.Name() != to[i].Name() || from.Type() != to[i].Type() || reflect.TypeOf(from) != reflect.TypeOf(to[i]) || reflect.TypeOf(from).Kind() != reflect.Pointer {
			continue
		}
		from.Reset()
		reflect.ValueOf(to[i]).Elem().Set(reflect.ValueOf(from).Elem())
	}
	b.columns = to
}

// appendValues puts the values of a column into the block.
func (b *block) appendValues(to rowdriver.BatchColumn, made column.Interface, values any) error {
	switch values := values.(type) {
	case *Dictionary:
		if low, ok := made.(*column.LowCardinality); ok && low.Type() == "LowCardinality(String)" {
			return b.fill(low, values)
		}
		return to.Append(values.texts())
	case [][]byte:
		text, ok := made.(*column.String)
		if !ok {
			return to.Append(values)
		}
		// Appended at once, the driver makes a string of each value first.
		for i := range values {
			if err := text.AppendRow(&values[i]); err != nil {
				return err
			}
		}
		return nil
	default:
		return to.Append(values)
	}
}
