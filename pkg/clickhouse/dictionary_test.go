package clickhouse_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/metiva-io/metiva/pkg/clickhouse"
)

// TestDictionary: what a dictionary holds arrives, however many words it has, also in a
// column that is none.
func TestDictionary(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := openEmpty(t)
	if err := c.Exec(ctx, "CREATE TABLE words (n UInt64, low LowCardinality(String), plain String) ENGINE = MergeTree ORDER BY n"); err != nil {
		t.Fatal(err)
	}
	d := clickhouse.NewDictionary()
	for _, words := range []int{1, 3, 255, 256, 257, 70_000} {
		d.Reset()
		rows := max(words, 500)
		numbers, want := make([]uint64, rows), make([]string, rows)
		for i := range rows {
			numbers[i] = uint64(i)
			if i%words > 0 {
				want[i] = fmt.Sprintf("word %d\x00é", i%words)
			}
			if i%2 == 0 {
				d.Add(want[i])
			} else {
				d.AddNumber(d.Number(want[i]))
			}
		}
		if d.Rows() != rows {
			t.Fatalf("%d rows of %d", d.Rows(), rows)
		}
		if err := c.Insert(ctx, "words", "", []clickhouse.Column{{Name: "n", Values: numbers}, {Name: "low", Values: d}, {Name: "plain", Values: d}}); err != nil {
			t.Fatal(err)
		}
		seen := 0
		err := c.Each(ctx, "SELECT n, low, plain FROM words", func(scan func(...any) error) error {
			var n uint64
			var low, plain string
			if err := scan(&n, &low, &plain); err != nil {
				return err
			}
			if seen++; low != want[n] || plain != want[n] {
				return fmt.Errorf("row %d is %q and %q, want %q", n, low, plain, want[n])
			}
			return nil
		})
		if err != nil || seen != rows {
			t.Fatalf("%d words: %d rows, %v", words, seen, err)
		}
		if err := c.Exec(ctx, "TRUNCATE TABLE words"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestInsertAfterTheTableChanged: the types an insert knew may be others now.
func TestInsertAfterTheTableChanged(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := openEmpty(t)
	exec := func(sql string) {
		t.Helper()
		if err := c.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	insert := func(values any) error {
		return c.Insert(ctx, "t", "", []clickhouse.Column{{Name: "v", Values: values}})
	}
	exec("CREATE TABLE t (v UInt32) ENGINE = MergeTree ORDER BY tuple()")
	if err := insert([]uint32{7}); err != nil {
		t.Fatal(err)
	}
	exec("ALTER TABLE t MODIFY COLUMN v UInt64")
	if err := insert([]uint32{8}); err != nil {
		t.Errorf("a wider column: %v", err)
	}
	exec("DROP TABLE t SYNC")
	exec("CREATE TABLE t (v String) ENGINE = MergeTree ORDER BY tuple()")
	if err := insert([]string{"x"}); err == nil {
		t.Log("the driver asked again by itself")
	}
	// The failed insert has forgotten the types.
	if err := insert([]string{"nine"}); err != nil {
		t.Errorf("after the failure: %v", err)
	}
	exec("DROP TABLE t SYNC")
	if err := insert([]string{"x"}); err == nil {
		t.Error("an insert into no table succeeds")
	}
}
