package kafka

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// kfake keeps the last sequence numbers of each producer in memory and writes
// them to seq_windows.json only when it closes in order. After a kill it would
// accept the repetition of a batch it has already appended, or refuse a
// producer that has moved on since the last orderly close. Apache Kafka
// recovers this state from the log itself; restoreSequences does the same for
// kfake, from the batch headers, before kfake reads the file.
//
// The file's form is that of the pinned kfake version; a test fails when an
// upgrade changes it.

const (
	sequencesFile    = "seq_windows.json"
	sequencesVersion = 1
	// cleanMarker exists while the data directory was closed in order.
	cleanMarker = "closed-in-order"
	// windowEntries is how many batches kfake remembers per producer.
	windowEntries = 5
	// batchBytesMax bounds what a damaged length can make us read.
	batchBytesMax = 64 << 20
)

type sequenceFile struct {
	Version int               `json:"version"`
	Windows []*sequenceWindow `json:"windows"`
}

type sequenceWindow struct {
	PID       int64                        `json:"pid"`
	Topic     string                       `json:"topic"`
	Partition int32                        `json:"partition"`
	Entries   [windowEntries]sequenceEntry `json:"entries"`
	Count     uint8                        `json:"count"`
	At        uint8                        `json:"at"`
	Epoch     int16                        `json:"epoch"`
	Seen      bool                         `json:"seen"`
	NextSeq   int32                        `json:"next_seq"`
}

type sequenceEntry struct {
	FirstSeq int32 `json:"first_seq"`
	NextSeq  int32 `json:"next_seq"`
	Offset   int64 `json:"offset"`
}

// batchHead is what the header of a record batch says about its producer.
type batchHead struct {
	offset   int64
	producer int64
	epoch    int16
	firstSeq int32
	count    int32 // offsets covered, also after compaction
}

// add moves the window on by a batch, as kfake does when it appends one.
func (w *sequenceWindow) add(b batchHead) {
	if w.Seen && b.epoch != w.Epoch {
		*w = sequenceWindow{PID: w.PID, Topic: w.Topic, Partition: w.Partition}
	}
	// kfake's own modulus, one less than Kafka's, so that both agree.
	next := int32((int64(b.firstSeq) + int64(b.count)) % math.MaxInt32)
	w.Seen, w.Epoch, w.NextSeq = true, b.epoch, next
	w.Entries[w.At] = sequenceEntry{FirstSeq: b.firstSeq, NextSeq: next, Offset: b.offset}
	w.At = (w.At + 1) % windowEntries
	w.Count = min(w.Count+1, windowEntries)
}

// restoreSequences writes the producer state of a log that was not closed in
// order, and takes the marker away.
func restoreSequences(logDir string, log *slog.Logger) error {
	marker := filepath.Join(logDir, cleanMarker)
	if _, err := os.Stat(marker); err == nil {
		if err := os.Remove(marker); err != nil {
			return fmt.Errorf("removing the marker of the embedded kafka: %w", err)
		}
		return nil
	}
	dirs, err := filepath.Glob(filepath.Join(logDir, "partitions", "*"))
	if err != nil || len(dirs) == 0 {
		return err
	}
	file := sequenceFile{Version: sequencesVersion, Windows: []*sequenceWindow{}}
	for _, dir := range dirs {
		windows, err := partitionSequences(dir)
		if err != nil {
			return fmt.Errorf("recovering producer sequences: %w", err)
		}
		file.Windows = append(file.Windows, windows...)
	}
	data, err := json.Marshal(file)
	if err != nil {
		return fmt.Errorf("recovering producer sequences: %w", err)
	}
	path := filepath.Join(logDir, sequencesFile)
	if err := os.WriteFile(path+".tmp", data, 0o600); err != nil {
		return fmt.Errorf("writing producer sequences: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("writing producer sequences: %w", err)
	}
	log.Info("embedded kafka was not closed in order, producer sequences are recovered",
		"partitions", len(dirs), "producers", len(file.Windows))
	return nil
}

func markClean(logDir string) error {
	if err := os.WriteFile(filepath.Join(logDir, cleanMarker), nil, 0o600); err != nil {
		return fmt.Errorf("marking the embedded kafka as closed in order: %w", err)
	}
	return nil
}

// partitionSequences reads the segments of one partition, oldest first.
func partitionSequences(dir string) ([]*sequenceWindow, error) {
	escaped, number, ok := cutLast(filepath.Base(dir), "-")
	topic, errTopic := url.PathUnescape(escaped)
	partition, errNumber := strconv.ParseInt(number, 10, 32)
	if !ok || errTopic != nil || errNumber != nil {
		return nil, nil //nolint:nilerr // not a partition
	}
	segments, err := filepath.Glob(filepath.Join(dir, "*.dat"))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(segments, func(a, b string) int { return int(segmentBase(a) - segmentBase(b)) })
	byProducer := map[int64]*sequenceWindow{}
	var windows []*sequenceWindow
	for _, segment := range segments {
		err := readHeads(segment, func(b batchHead) {
			if b.producer < 0 || b.firstSeq < 0 {
				return
			}
			w := byProducer[b.producer]
			if w == nil {
				w = &sequenceWindow{PID: b.producer, Topic: topic, Partition: int32(partition)}
				byProducer[b.producer] = w
				windows = append(windows, w)
			}
			w.add(b)
		})
		if err != nil {
			return nil, err
		}
	}
	return windows, nil
}

// segmentBase is the first offset of a segment, from its file name.
func segmentBase(path string) int64 {
	base, _ := strconv.ParseInt(strings.TrimSuffix(filepath.Base(path), ".dat"), 10, 64)
	return base
}

// readHeads calls each for every whole batch of a segment. What a kill has cut
// off at the end, or a loss of power has left half written, is not a batch;
// kfake removes it. Taken for one, its repetition would be refused as known.
func readHeads(segment string, each func(batchHead)) error {
	f, err := os.Open(segment)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 256<<10)
	var h [61]byte
	var body []byte
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	for {
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return endOfSegment(err)
		}
		rest := int64(int32(binary.BigEndian.Uint32(h[8:]))) - (int64(len(h)) - 12)
		if rest < 0 || rest > batchBytesMax || h[16] != 2 {
			return nil
		}
		body = slices.Grow(body[:0], int(rest))[:rest]
		if _, err := io.ReadFull(r, body); err != nil {
			return endOfSegment(err)
		}
		if crc32.Update(crc32.Checksum(h[21:], castagnoli), castagnoli, body) != binary.BigEndian.Uint32(h[17:]) {
			return nil
		}
		be := binary.BigEndian
		each(batchHead{
			offset:   int64(be.Uint64(h[0:])),
			count:    int32(be.Uint32(h[23:])) + 1,
			producer: int64(be.Uint64(h[43:])),
			epoch:    int16(be.Uint16(h[51:])),
			firstSeq: int32(be.Uint32(h[53:])),
		})
	}
}

func endOfSegment(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
