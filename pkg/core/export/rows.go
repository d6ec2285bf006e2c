package export

import (
	"errors"
	"fmt"
	"io"

	"github.com/metiva-io/metiva/pkg/core/analytics"
)

// ErrCut marks a file that ends in the middle of a row or document.
var ErrCut = errors.New("the file is cut off")

// counter counts the rows of what is written to it, by the format's own rules.
type counter interface {
	io.Writer
	// rows is the number of rows, or ErrCut. file is what was written.
	rows(file io.ReaderAt, bytes int64) (int64, error)
}

func newCounter(format analytics.ExportFormat) counter {
	switch format {
	case analytics.ExportCSV:
		return new(csvCounter)
	case analytics.ExportParquet:
		return parquetCounter{}
	case analytics.ExportNDJSON:
	}
	return new(lineCounter)
}

// lineCounter counts lines: a row of NDJSON is one, since JSON escapes ends of lines.
type lineCounter struct {
	lines int64
	last  byte
}

func (c *lineCounter) Write(p []byte) (int, error) {
	for _, b := range p {
		if b == '\n' {
			c.lines++
		}
	}
	if len(p) > 0 {
		c.last = p[len(p)-1]
	}
	return len(p), nil
}

func (c *lineCounter) rows(_ io.ReaderAt, bytes int64) (int64, error) {
	if bytes > 0 && c.last != '\n' {
		return 0, ErrCut
	}
	return c.lines, nil
}

// csvCounter counts the records of RFC 4180 but for the first, the names. A quote
// inside a quoted text is doubled, so that counting both changes nothing.
type csvCounter struct {
	records int64
	quoted  bool
	last    byte
}

func (c *csvCounter) Write(p []byte) (int, error) {
	for _, b := range p {
		switch {
		case b == '"':
			c.quoted = !c.quoted
		case b == '\n' && !c.quoted:
			c.records++
		}
	}
	if len(p) > 0 {
		c.last = p[len(p)-1]
	}
	return len(p), nil
}

func (c *csvCounter) rows(io.ReaderAt, int64) (int64, error) {
	if c.quoted || c.last != '\n' {
		return 0, ErrCut
	}
	return c.records - 1, nil
}

// parquetCounter reads the number of rows from the document's end.
type parquetCounter struct{}

func (parquetCounter) Write(p []byte) (int, error) { return len(p), nil }

func (parquetCounter) rows(file io.ReaderAt, bytes int64) (int64, error) {
	rows, err := parquetRows(file, bytes)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrCut, err)
	}
	return rows, nil
}
