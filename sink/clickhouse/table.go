package clickhouse

import (
	"slices"

	"github.com/metiva-io/metiva/pkg/clickhouse"
)

// table is the columns of a table with the memory of a block, which is used again for
// the next block.
type table[R any] struct{ sources []source[R] }

// source collects one column.
type source[R any] interface {
	// grow makes room for more rows.
	grow(rows int)
	// add takes the column's value of each row.
	add(rows []R)
	// column is what was collected; false when it may be left out, because every row
	// has the default.
	column() (clickhouse.Column, bool)
	// reset lets go of the values and keeps their room.
	reset()
}

// blockRows is how many rows' values are taken for all columns before the next rows:
// their messages then come from the processor's cache and not from memory each time.
const blockRows = 128

// columns collects the columns of rows. They are valid until reset.
func (t *table[R]) columns(rows []R) []clickhouse.Column {
	for _, s := range t.sources {
		s.grow(len(rows))
	}
	for from := 0; from < len(rows); from += blockRows {
		part := rows[from:min(from+blockRows, len(rows))]
		for _, s := range t.sources {
			s.add(part)
		}
	}
	columns := make([]clickhouse.Column, 0, len(t.sources))
	for _, s := range t.sources {
		if c, needed := s.column(); needed {
			columns = append(columns, c)
		}
	}
	return columns
}

func (t *table[R]) reset() {
	for _, s := range t.sources {
		s.reset()
	}
}

// values is a column of a slice of V.
type values[R, V any] struct {
	name  string
	of    func(*R) V
	taken []V
}

// column collects one value of each row.
func column[R, V any](name string, of func(*R) V) source[R] { return &values[R, V]{name: name, of: of} }

func (v *values[R, V]) grow(rows int) { v.taken = slices.Grow(v.taken, rows) }

func (v *values[R, V]) add(rows []R) {
	for i := range rows {
		v.taken = append(v.taken, v.of(&rows[i]))
	}
}

func (v *values[R, V]) column() (clickhouse.Column, bool) {
	return clickhouse.Column{Name: v.name, Values: v.taken}, true
}

func (v *values[R, V]) reset() {
	clear(v.taken) // a text keeps its batch's memory
	v.taken = v.taken[:0]
}

// words is a column of texts of which many rows have the same.
type words[R any] struct {
	name  string
	of    func(*R) string
	taken *clickhouse.Dictionary
}

func word[R any](name string, of func(*R) string) source[R] {
	return &words[R]{name: name, of: of, taken: clickhouse.NewDictionary()}
}

func (w *words[R]) grow(rows int) { w.taken.Grow(rows) }

func (w *words[R]) add(rows []R) {
	for i := range rows {
		w.taken.Add(w.of(&rows[i]))
	}
}

func (w *words[R]) column() (clickhouse.Column, bool) {
	return clickhouse.Column{Name: w.name, Values: w.taken}, true
}

func (w *words[R]) reset() { w.taken.Reset() }

// named is a column of the names of an enum.
type named[R any, E ~int32] struct {
	name  string
	names map[E]string
	empty bool // zero has no name: the event need not have the value
	of    func(*R) E
	taken *clickhouse.Dictionary
	// numbers are 1 more than the numbers of the names that this block has.
	numbers [enumKnown]uint32
}

// enumKnown is above every number of the contract's enums; a higher one is unknown.
const enumKnown = 64

// label is the name of an enum; a number of a newer schema is "unknown".
func label[R any, E ~int32](name string, names map[E]string, of func(*R) E) source[R] {
	return &named[R, E]{name: name, names: names, of: of, taken: clickhouse.NewDictionary()}
}

// labelOrEmpty is the name of a value that an event need not have.
func labelOrEmpty[R any, E ~int32](name string, names map[E]string, of func(*R) E) source[R] {
	return &named[R, E]{name: name, names: names, empty: true, of: of, taken: clickhouse.NewDictionary()}
}

func (n *named[R, E]) grow(rows int) { n.taken.Grow(rows) }

func (n *named[R, E]) add(rows []R) {
	for i := range rows {
		v := n.of(&rows[i])
		if v < 0 || v >= enumKnown {
			n.taken.Add(n.text(v))
			continue
		}
		if n.numbers[v] == 0 {
			n.numbers[v] = 1 + n.taken.Number(n.text(v))
		}
		n.taken.AddNumber(n.numbers[v] - 1)
	}
}

func (n *named[R, E]) text(v E) string {
	if n.empty && v == 0 {
		return ""
	}
	return nameOf(n.names, v)
}

func nameOf[E comparable](names map[E]string, v E) string {
	if s, ok := names[v]; ok {
		return s
	}
	return "unknown"
}

func (n *named[R, E]) column() (clickhouse.Column, bool) {
	return clickhouse.Column{Name: n.name, Values: n.taken}, true
}

func (n *named[R, E]) reset() {
	n.taken.Reset()
	clear(n.numbers[:])
}

// properties is a column of maps, which most blocks have none of. The driver reads
// maps by reflection, row by row, so a block without any leaves the column out.
type properties[R any] struct {
	values[R, map[string]string]
	any bool
}

func propertiesColumn[R any](name string, of func(*R) map[string]string) source[R] {
	return &properties[R]{values: values[R, map[string]string]{name: name, of: of}}
}

func (p *properties[R]) add(rows []R) {
	for i := range rows {
		m := p.of(&rows[i])
		p.any = p.any || len(m) > 0
		p.taken = append(p.taken, m)
	}
}

func (p *properties[R]) column() (clickhouse.Column, bool) {
	c, _ := p.values.column()
	return c, p.any
}

func (p *properties[R]) reset() {
	p.values.reset()
	p.any = false
}
