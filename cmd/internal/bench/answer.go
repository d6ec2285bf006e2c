package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// errAnswer marks an answer this small reader does not understand: neither
// server sends such a one.
var errAnswer = errors.New("an answer that cannot be read")

// readAnswer reads one HTTP/1.1 answer with a Content-Length, or without a
// body, and returns its status.
func readAnswer(r *bufio.Reader) (status int, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, fmt.Errorf("reading an answer: %w", err)
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, errAnswer
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, errAnswer
	}
	length := 0
	for {
		line, err = r.ReadSlice('\n')
		if err != nil {
			return 0, fmt.Errorf("reading an answer: %w", err)
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil || length < 0 {
				return 0, errAnswer
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			return 0, errAnswer
		}
	}
	if _, err := r.Discard(length); err != nil {
		return 0, fmt.Errorf("reading an answer: %w", err)
	}
	return status, nil
}
