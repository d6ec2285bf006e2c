package clickhouse

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// Dictionary is the values of a LowCardinality(String) column of an insert: each word
// once, and the number of its word for each row. The driver makes the same of a
// []string by putting every value into an interface and looking it up twice, which is
// most of what such an insert costs. Zero is not ready for use; it belongs to one
// goroutine at a time.
type Dictionary struct {
	words   []string
	numbers map[string]uint32
	rows    []uint32
	last    uint32
}

// NewDictionary makes an empty one.
func NewDictionary() *Dictionary {
	d := &Dictionary{numbers: make(map[string]uint32)}
	d.Reset()
	return d
}

// Reset forgets words and rows, and keeps the memory.
func (d *Dictionary) Reset() {
	clear(d.words)
	clear(d.numbers)
	// The first word is the default, as the driver has it.
	d.words, d.rows, d.last = append(d.words[:0], ""), d.rows[:0], 0
	d.numbers[""] = 0
}

// Number is the number of a word, which is there from then on.
func (d *Dictionary) Number(word string) uint32 {
	n, known := d.numbers[word]
	if !known {
		n = uint32(len(d.words))
		d.words = append(d.words, word)
		d.numbers[word] = n
	}
	return n
}

// Add adds a row. Neighbours often have the same word.
func (d *Dictionary) Add(word string) {
	if d.words[d.last] != word {
		d.last = d.Number(word)
	}
	d.rows = append(d.rows, d.last)
}

// AddNumber adds a row with the word of a number that Number gave since the last
// Reset.
func (d *Dictionary) AddNumber(n uint32) { d.rows = append(d.rows, n) }

// Grow makes room for more rows.
func (d *Dictionary) Grow(rows int) { d.rows = slices.Grow(d.rows, rows) }

// Rows is how many rows were added.
func (d *Dictionary) Rows() int { return len(d.rows) }

// texts are the values one by one.
func (d *Dictionary) texts() []string {
	out := make([]string, len(d.rows))
	for i, n := range d.rows {
		out[i] = d.words[n]
	}
	return out
}

// How a block has a dictionary (SerializationLowCardinality.cpp): flags and the width
// of the numbers, the words, and the numbers.
const (
	dictionaryHasWords  = 1 << 9
	dictionaryReplaces  = 1 << 10
	dictionaryWidth8    = 0
	dictionaryWidth16   = 1
	dictionaryWidth32   = 2
	dictionaryFlagsMask = dictionaryHasWords | dictionaryReplaces
)

// fill makes the driver's column of a dictionary, by giving it the bytes a server
// would send.
func (b *block) fill(to *column.LowCardinality, d *Dictionary) error {
	if b.reader == nil {
		b.reader = proto.NewReader(&b.words)
	}
	b.encoded = d.encode(b.encoded[:0])
	b.words.Reset(b.encoded)
	if err := to.Decode(b.reader, len(d.rows)); err != nil {
		b.reader = nil // it holds what is left
		return fmt.Errorf("filling a dictionary: %w", err)
	}
	return nil
}

// encode appends the dictionary as a server sends it.
func (d *Dictionary) encode(b []byte) []byte {
	b = slices.Grow(b, 32+4*len(d.rows)+16*len(d.words))
	width := uint64(dictionaryWidth32)
	switch {
	case len(d.words) <= 1<<8:
		width = dictionaryWidth8
	case len(d.words) <= 1<<16:
		width = dictionaryWidth16
	}
	b = binary.LittleEndian.AppendUint64(b, dictionaryFlagsMask|width)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(d.words)))
	for _, w := range d.words {
		b = binary.AppendUvarint(b, uint64(len(w)))
		b = append(b, w...)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(len(d.rows)))
	switch width {
	case dictionaryWidth8:
		from := len(b)
		b = slices.Grow(b, len(d.rows))[:from+len(d.rows)]
		for i, n := range d.rows {
			b[from+i] = byte(n)
		}
	case dictionaryWidth16:
		for _, n := range d.rows {
			b = binary.LittleEndian.AppendUint16(b, uint16(n))
		}
	default:
		for _, n := range d.rows {
			b = binary.LittleEndian.AppendUint32(b, n)
		}
	}
	return b
}
