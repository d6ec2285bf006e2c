package clickhouse_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
)

// inserted are the columns of a block of rows, whose values tell its number and row.
func inserted(block, rows int, withMap bool) []clickhouse.Column {
	ids, numbers, texts, plain := make([][]byte, rows), make([]uint64, rows), make([][]byte, rows), make([]string, rows)
	moments, yes, maps := make([]int64, rows), make([]bool, rows), make([]map[string]string, rows)
	words := clickhouse.NewDictionary()
	for i := range rows {
		ids[i] = fmt.Appendf(nil, "%06d-%09d", block, i)
		numbers[i] = uint64(block)
		texts[i] = []byte(strings.Repeat("x", (block+i)%90))
		plain[i] = fmt.Sprintf("plain %d/%d", block, i)
		moments[i] = int64(block)*1000 + int64(i)
		yes[i] = (block+i)%2 == 0
		maps[i] = map[string]string{"row": fmt.Sprint(i)}
		words.Add(fmt.Sprintf("word %d", i%(1+block*131%700)))
	}
	columns := []clickhouse.Column{
		{Name: "id", Values: ids},
		{Name: "block", Values: numbers},
		{Name: "text", Values: texts},
		{Name: "plain", Values: plain},
		{Name: "at", Values: moments},
		{Name: "yes", Values: yes},
		{Name: "low", Values: words},
	}
	if withMap {
		columns = append(columns, clickhouse.Column{Name: "m", Values: maps})
	}
	return columns
}

// checkInserted compares every row of the blocks, whose numbers of rows are given.
func checkInserted(t *testing.T, c *clickhouse.Conn, blocks map[int]int, withMap func(block int) bool) {
	t.Helper()
	want := 0
	for _, rows := range blocks {
		want += rows
	}
	seen := map[string]bool{}
	err := c.Each(context.Background(), "SELECT toString(id), block, text, plain, at, yes, low, m FROM t", func(scan func(...any) error) error {
		var id, text, plain, low string
		var n uint64
		var at time.Time
		var yes bool
		var m map[string]string
		if err := scan(&id, &n, &text, &plain, &at, &yes, &low, &m); err != nil {
			return err
		}
		var block, i int
		if _, err := fmt.Sscanf(id, "%06d-%09d", &block, &i); err != nil || seen[id] {
			return fmt.Errorf("id %q, %w", id, err)
		}
		seen[id] = true
		wantMap := map[string]string{}
		if withMap(block) {
			wantMap["row"] = fmt.Sprint(i)
		}
		if n != uint64(block) || text != strings.Repeat("x", (block+i)%90) || plain != fmt.Sprintf("plain %d/%d", block, i) ||
			at.UnixMilli() != int64(block)*1000+int64(i) || yes != ((block+i)%2 == 0) || low != fmt.Sprintf("word %d", i%(1+block*131%700)) || !maps.Equal(m, wantMap) {
			return fmt.Errorf("row %s is %d %q %q %v %v %q %v", id, n, text, plain, at, yes, low, m)
		}
		return nil
	})
	if err != nil || len(seen) != want {
		t.Fatalf("%d rows of %d, %v", len(seen), want, err)
	}
}

const insertedTable = `CREATE TABLE t (id FixedString(16), block UInt64, text String, plain String, at DateTime64(3, 'UTC'),
	yes Bool, low LowCardinality(String), m Map(String, String)) ENGINE = MergeTree ORDER BY id`

// TestInserter: blocks of all sizes after each other and beside each other, in memory
// that was another block's, hold their own rows and nothing else.
func TestInserter(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := openEmpty(t)
	if err := c.Exec(ctx, insertedTable); err != nil {
		t.Fatal(err)
	}
	in := c.Inserter("t")
	blocks := map[int]int{}
	withMap := func(block int) bool { return block%3 == 0 }
	for block, rows := range []int{3, 5000, 1, 700, 70_000, 2, 400} {
		if err := in.Insert(ctx, "", inserted(block, rows, withMap(block))); err != nil {
			t.Fatal(err)
		}
		blocks[block] = rows
	}
	var group sync.WaitGroup
	for worker := range 8 {
		first, second := 30*worker+1, 900-100*worker
		blocks[10+worker], blocks[20+worker] = first, second
		group.Go(func() {
			for block, rows := range map[int]int{10 + worker: first, 20 + worker: second} {
				if err := in.Insert(ctx, "", inserted(block, rows, withMap(block))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	checkInserted(t, c, blocks, withMap)
}

// TestInserterAfterAFailure: what failed leaves nothing behind in the next block, also
// when the table has other types since.
func TestInserterAfterAFailure(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := openEmpty(t)
	exec := func(sql string) {
		t.Helper()
		if err := c.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(insertedTable)
	in := c.Inserter("t")
	always := func(int) bool { return true }
	insert := func(block, rows int) {
		t.Helper()
		if err := in.Insert(ctx, "", inserted(block, rows, true)); err != nil {
			t.Fatal(err)
		}
	}
	insert(1, 300)
	bad := inserted(2, 300, true)
	bad[4].Values = []string{"no time"}
	if err := in.Insert(ctx, "", bad); err == nil {
		t.Fatal("a text is taken for a time")
	}
	insert(3, 200)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := in.Insert(ended, "", inserted(4, 300, true)); err == nil {
		t.Fatal("an insert goes on after its end")
	}
	insert(5, 40)
	checkInserted(t, c, map[int]int{1: 300, 3: 200, 5: 40}, always)
	exec("ALTER TABLE t MODIFY COLUMN low String")
	exec("ALTER TABLE t MODIFY COLUMN text LowCardinality(String)")
	for block := 6; block < 9; block++ {
		// The first may still have the types of before, which the server casts.
		insert(block, 100*block)
	}
	checkInserted(t, c, map[int]int{1: 300, 3: 200, 5: 40, 6: 600, 7: 700, 8: 800}, always)
}
