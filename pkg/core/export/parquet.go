package export

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A Parquet document begins and ends with its magic number; before the end are its
// metadata and their length (parquet-format, README and parquet.thrift: FileMetaData).
const (
	parquetMagic        = "PAR1"
	parquetMetaBytesMax = 64 << 20
	parquetFieldNumRows = 3
	thriftDepthMax      = 16
)

var errParquet = errors.New("it is no Parquet document")

// parquetRows is the number of rows a document says it has.
func parquetRows(file io.ReaderAt, bytes int64) (int64, error) {
	const ends = 2*len(parquetMagic) + 4
	if bytes < int64(ends) {
		return 0, errParquet
	}
	var head [4]byte
	var tail [8]byte
	if _, err := file.ReadAt(head[:], 0); err != nil {
		return 0, fmt.Errorf("reading a document's beginning: %w", err)
	}
	if _, err := file.ReadAt(tail[:], bytes-8); err != nil {
		return 0, fmt.Errorf("reading a document's end: %w", err)
	}
	n := int64(binary.LittleEndian.Uint32(tail[:4]))
	if string(head[:]) != parquetMagic || string(tail[4:]) != parquetMagic || n > bytes-int64(ends) || n > parquetMetaBytesMax {
		return 0, errParquet
	}
	meta := make([]byte, n)
	if _, err := file.ReadAt(meta, bytes-8-n); err != nil {
		return 0, fmt.Errorf("reading a document's metadata: %w", err)
	}
	return numRows(&thrift{data: meta})
}

// numRows reads FileMetaData up to its field num_rows.
func numRows(t *thrift) (int64, error) {
	id := int64(0)
	for {
		kind, delta := t.field()
		if kind == thriftStop || t.failed {
			return 0, errParquet
		}
		if delta == 0 {
			id = t.zigzag()
		} else {
			id += delta
		}
		if id == parquetFieldNumRows && kind == thriftI64 {
			rows := t.zigzag()
			if t.failed || rows < 0 {
				return 0, errParquet
			}
			return rows, nil
		}
		t.skip(kind, 0)
	}
}

// thrift reads Thrift's compact protocol (thrift-compact-protocol.md), as far as it
// takes to leave values out. failed is set once it cannot go on.
type thrift struct {
	data   []byte
	failed bool
}

// Types of the compact protocol.
const (
	thriftStop   = 0
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

func (t *thrift) fail() {
	t.failed, t.data = true, nil
}

func (t *thrift) next() byte {
	if len(t.data) == 0 {
		t.fail()
		return 0
	}
	b := t.data[0]
	t.data = t.data[1:]
	return b
}

func (t *thrift) drop(n uint64) {
	if n > uint64(len(t.data)) {
		t.fail()
		return
	}
	t.data = t.data[n:]
}

func (t *thrift) varint() uint64 {
	v, n := binary.Uvarint(t.data)
	if n <= 0 {
		t.fail()
		return 0
	}
	t.data = t.data[n:]
	return v
}

func (t *thrift) zigzag() int64 {
	v := t.varint()
	return int64(v>>1) ^ -int64(v&1)
}

// field is the head of a field: its type, and how far its id is from the last one's; 0
// when the id follows.
func (t *thrift) field() (kind byte, delta int64) {
	b := t.next()
	return b & 0x0f, int64(b >> 4)
}

// skip leaves out a value of a field.
func (t *thrift) skip(kind byte, depth int) {
	if depth > thriftDepthMax {
		t.fail()
	}
	if t.failed {
		return
	}
	switch kind {
	case thriftTrue, thriftFalse: // the type is the value
	case thriftByte:
		t.drop(1)
	case thriftI16, thriftI32, thriftI64:
		t.varint()
	case thriftDouble:
		t.drop(8)
	case thriftBinary:
		t.drop(t.varint())
	case thriftList, thriftSet:
		head := t.next()
		n := uint64(head >> 4)
		if n == 15 {
			n = t.varint()
		}
		t.elements(n, depth, head&0x0f)
	case thriftMap:
		n := t.varint()
		if n == 0 {
			return
		}
		kinds := t.next()
		t.elements(n, depth, kinds>>4, kinds&0x0f)
	case thriftStruct:
		for !t.failed {
			kind, delta := t.field()
			if kind == thriftStop {
				return
			}
			if delta == 0 {
				t.zigzag()
			}
			t.skip(kind, depth+1)
		}
	default:
		t.fail()
	}
}

// elements leaves out n elements of a list, or of a map whose elements are of two
// types. An element takes a byte at least, also a boolean.
func (t *thrift) elements(n uint64, depth int, kinds ...byte) {
	if n > uint64(len(t.data)) {
		t.fail()
	}
	for range n {
		for _, kind := range kinds {
			if kind == thriftTrue || kind == thriftFalse {
				t.drop(1)
				continue
			}
			t.skip(kind, depth+1)
		}
		if t.failed {
			return
		}
	}
}
