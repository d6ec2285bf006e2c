package kafka

import "time"

// Header is a key and value beside a record.
type Header struct {
	Key   string
	Value []byte
}

// Record is one record read from a topic. Key, Value and header values may
// share memory with other records of the same fetch: copy what is to be kept
// for long, change nothing. A nil Value is a tombstone.
type Record struct {
	Topic      string
	Partition  int
	Offset     int64
	Time       time.Time
	Key, Value []byte
	Headers    []Header
}
