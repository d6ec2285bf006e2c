package kafka

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

// TestSurvey: what is said to be packed shares no memory with the answer, whose memory
// the next fetch writes over.
func TestSurvey(t *testing.T) {
	t.Parallel()
	for name, isPacked := range map[string]bool{"none": false, "lz4": true, "snappy": true, "zstd": true} {
		data := sealed(t, name, 20)
		data = append(data, data[:len(data)-1]...) // the second is cut off
		n, got := survey(data)
		if n != 20 || got != isPacked {
			t.Errorf("%s: %d records, packed %v", name, n, got)
		}
		records, _, err := decodeBatches(nil, "t", 0, data, 0)
		if err != nil {
			t.Fatal(err)
		}
		before := slices.Clone(records)
		for i := range before {
			before[i].Key, before[i].Value = bytes.Clone(before[i].Key), bytes.Clone(before[i].Value)
		}
		clear(data)
		same := slices.EqualFunc(before, records, func(a, b Record) bool {
			return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) && bytes.Equal(a.Headers[0].Value, b.Headers[0].Value)
		})
		if same != isPacked {
			t.Errorf("%s: after the answer was written over, the records are the same: %v", name, same)
		}
	}
	mixed := append(sealed(t, "snappy", 20), sealed(t, "none", 20)...)
	if n, isPacked := survey(mixed); n != 40 || isPacked {
		t.Errorf("mixed: %d records, packed %v", n, isPacked)
	}
}

// TestSurveyIsBounded: a head may say what it likes.
func TestSurveyIsBounded(t *testing.T) {
	t.Parallel()
	for _, count := range []int32{math.MaxInt32, math.MinInt32, -1} {
		data := sealed(t, "snappy", 20)
		for i := range 4 {
			data[57+i] = byte(uint32(count) >> (24 - 8*i))
		}
		if n, _ := survey(data); n < 0 || n > len(data)/surveyRecordBytes {
			t.Errorf("%d records in %d bytes", n, len(data))
		}
	}
	for n := range batchHeaderBytes {
		if records, _ := survey(make([]byte, n)); records != 0 {
			t.Errorf("%d records in %d bytes of nothing", records, n)
		}
	}
}

// TestLargeAnswersAreLetGo: what one huge batch took is not kept for the small ones after it.
func TestLargeAnswersAreLetGo(t *testing.T) {
	t.Parallel()
	c := new(Client)
	for range 8 { // a pool may lose some by itself
		large := make([]byte, keepAnswerBytesMax+1)
		c.keepAnswer(&large)
	}
	if c.answers.Get() != nil {
		t.Error("the memory of a large answer is kept")
	}
}
