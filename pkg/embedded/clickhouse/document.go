package clickhouse

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// documentFormats are the formats whose answer is one document, with a header or
// an end. The library's stream makes a document of each of its blocks, and several
// behind each other are none.
func documentFormat(format string) bool {
	return format == "Parquet" || format == "CSVWithNames"
}

// documentBytes is how much of a document is read at a time.
const documentBytes = 256 << 10

// answersDir holds documents while they are made and sent.
func answersDir(dataDir string) string { return filepath.Join(dataDir, "answers") }

// emptyAnswers removes what a killed predecessor left.
func emptyAnswers(dataDir string) error {
	if err := os.RemoveAll(answersDir(dataDir)); err != nil {
		return fmt.Errorf("removing old answers: %w", err)
	}
	if err := os.Mkdir(answersDir(dataDir), 0o700); err != nil {
		return fmt.Errorf("making a directory for answers: %w", err)
	}
	return nil
}

// runDocument runs a statement whose answer is one document, by way of a file in
// dir: whole in memory it would be as large as the answer. INTO OUTFILE is refused
// in statements from outside; this one names a path of ours.
func (s *session) runDocument(dir, sql, format string, params []parameter, out func([]byte) error) (err error) {
	place, err := os.MkdirTemp(dir, "answer")
	if err != nil {
		return fmt.Errorf("making a place for an answer: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(place)) }()
	path := filepath.Join(place, "document")
	if _, err := s.run(sql+"\nINTO OUTFILE "+quoteString(path)+" COMPRESSION 'none' FORMAT "+format, "Null", params); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening an answer: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := make([]byte, documentBytes)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			if err := out(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading an answer: %w", err)
		}
	}
}
