package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// model drives a spool over a disk that crashes and fails, and remembers what a
// reader of Kafka and a client may rely on.
type model struct {
	t     *testing.T
	rng   *rand.Rand
	disk  *memoryDisk
	spool *Spool

	appended map[string]Lane // every record ever handed over
	acked    []string        // in the order of their sequences
	receipts []pendingAppend
	window   Window
	at       int // of window.Entries: the next to send
	planned  bool

	log    []sent         // what reached Kafka, in order
	copies map[string]int // in the log, by value
	// floor: everything with a lower sequence was durably finished.
	floor uint64
	lives int
	last  map[Lane]uint64 // greatest sequence sent in this life
}

type pendingAppend struct {
	receipt Receipt
	values  []string
}

type sent struct {
	value string
	lane  Lane
	maybe bool
}

func runModel(t *testing.T, seed uint64) {
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	rng := rand.New(rand.NewPCG(seed, 0))
	m := &model{t: t, rng: rng, disk: newMemoryDisk(rng), appended: map[string]Lane{}, copies: map[string]int{}}
	for range 1 + rng.IntN(5) {
		m.live()
	}
	m.disk.crashAt, m.disk.faults = 0, nil
	if !m.open() {
		t.Fatal("the spool does not open on a healthy disk")
	}
	m.drain()
	m.check()
}

// live opens the spool and works until a crash or a while.
func (m *model) live() {
	if m.rng.IntN(8) > 0 {
		m.disk.crashAt = 1 + m.rng.IntN(120)
	}
	if m.rng.IntN(3) == 0 {
		m.disk.faults = sometimes(m.rng, 1+m.rng.IntN(20))
	}
	if m.open() {
		for range 20 + m.rng.IntN(60) {
			if m.disk.crashed {
				break
			}
			m.act()
		}
		if !m.disk.crashed && m.rng.IntN(2) == 0 {
			m.spool.commit()
			m.settle()
			_ = m.spool.close()
		}
	}
	m.receipts, m.planned = nil, false
	m.disk.reboot()
}

func (m *model) open() bool {
	m.lives++
	m.last = map[Lane]uint64{}
	m.window, m.at, m.planned = Window{}, 0, false
	spool, err := open(Config{Dir: "memory", BytesMax: 4096, SegmentBytes: 300 + m.rng.Int64N(400)},
		Deps{Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), Now: time.Now}, m.disk, m.rng.Uint32)
	if err != nil {
		if m.disk.faults == nil && !m.disk.crashed {
			m.t.Fatalf("opening: %v", err)
		}
		return false
	}
	m.spool = spool
	return true
}

func (m *model) act() {
	defer func() {
		if !m.disk.crashed {
			m.floor = max(m.floor, m.spool.doneOnDisk)
		}
	}()
	switch m.rng.IntN(6) {
	case 0, 1:
		m.append()
	case 2:
		m.spool.commit()
		m.settle()
	default:
		m.replay()
	}
}

func (m *model) append() {
	var b Batch
	var values []string
	for range 1 + m.rng.IntN(3) {
		lane := Lane{"t", m.rng.IntN(3)}
		value := fmt.Sprintf("%d-%0*d", len(m.appended), m.rng.IntN(60), 0)
		if err := b.Add(lane.Topic, lane.Partition, []byte("k"), []byte(value)); err != nil {
			m.t.Fatal(err)
		}
		m.appended[value] = lane
		values = append(values, value)
	}
	r, err := m.spool.Append(&b, false)
	if err != nil {
		if !errors.Is(err, ErrFull) {
			m.t.Fatal(err)
		}
		return
	}
	m.receipts = append(m.receipts, pendingAppend{r, values})
}

// settle notes what was acknowledged.
func (m *model) settle() {
	for _, p := range m.receipts {
		select {
		case <-p.receipt.Ack.Done():
		default:
			m.t.Fatal("an append is not answered by its commit")
		}
		if p.receipt.Ack.Err() == nil {
			m.acked = append(m.acked, p.values...)
		}
	}
	m.receipts = nil
}

// replay takes one step of it. Kafka takes each record, and may fail to say so.
func (m *model) replay() {
	if m.at >= len(m.window.Entries) {
		ctx, cancel := context.WithCancel(context.Background())
		if s, _, _ := m.spool.unread(); s == nil {
			cancel() // nothing to wait for
		}
		err := m.spool.Next(ctx, &m.window, 1+m.rng.IntN(400))
		cancel()
		m.at, m.planned = 0, false
		if err != nil {
			m.window.Entries = m.window.Entries[:0]
		}
		return
	}
	if !m.planned {
		m.planned = m.spool.Plan(m.window.Last()) == nil
		return
	}
	e := m.window.Entries[m.at]
	lane, known := m.appended[string(e.Value)]
	if !known || lane != (Lane{e.Topic, e.Partition}) {
		m.t.Fatalf("a record nobody appended: %d bytes for %s/%d", len(e.Value), e.Topic, e.Partition)
	}
	if e.Sequence <= m.last[lane] {
		m.t.Fatalf("sequence %d of %v after %d", e.Sequence, lane, m.last[lane])
	}
	m.last[lane] = e.Sequence
	if e.Sequence < m.floor {
		m.t.Fatalf("sequence %d is sent again, all before %d was durably finished", e.Sequence, m.floor)
	}
	if m.copies[string(e.Value)] > 0 && !e.Maybe {
		m.t.Fatal("a record is sent again without its mark")
	}
	m.log = append(m.log, sent{string(e.Value), lane, e.Maybe})
	m.copies[string(e.Value)]++
	m.at++
	if m.at == len(m.window.Entries) {
		_ = m.spool.Done(e.Sequence) // an error is made good by a later one
	}
}

// drain replays everything.
func (m *model) drain() {
	for {
		if m.at >= len(m.window.Entries) {
			if s, _, _ := m.spool.unread(); s == nil {
				break
			}
		}
		m.replay()
	}
	if st := m.spool.Stats(); st.Bytes != 0 || st.Records != 0 {
		m.t.Errorf("a drained spool holds %+v", st)
	}
	for name := range m.disk.names {
		if name != progressName {
			m.t.Errorf("a drained spool leaves %s", name)
		}
	}
}

// check holds the log against what was promised.
func (m *model) check() {
	for _, value := range m.acked {
		if m.copies[value] == 0 {
			m.t.Fatalf("an acknowledged record is lost: %s", value)
		}
	}
	// In order: the first copies of a partition's acknowledged records.
	first := map[string]int{}
	for i, s := range m.log {
		if _, ok := first[s.value]; !ok {
			first[s.value] = i
		}
	}
	last := map[Lane]int{}
	for _, value := range m.acked {
		lane := m.appended[value]
		if at, ok := last[lane]; ok && first[value] < at {
			m.t.Fatalf("partition %v is out of order", lane)
		}
		last[lane] = first[value]
	}
}

func TestCrashesBetweenAnyTwoWrites(t *testing.T) {
	t.Parallel()
	cases := uint64(4000)
	if testing.Short() {
		cases = 1000
	}
	for seed := range cases {
		runModel(t, seed)
	}
}
