package analytics

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/secret"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// TestStages: what is made from other tables is deleted after them, what says which days
// are counted before their counts, and every table once.
func TestStages(t *testing.T) {
	t.Parallel()
	var tables []erasable
	for _, of := range schema.Tables() {
		tables = append(tables, erasable{name: of.Name})
	}
	var got [][]string
	for _, stage := range stages(append([]erasable{{name: "not_in_the_list"}}, tables...)) {
		var names []string
		for _, of := range stage {
			names = append(names, of.name)
		}
		got = append(got, names)
	}
	want := [][]string{
		{"not_in_the_list", "events", "drops", "ledger_edge", "ledger_checks", "visits", "accounts_daily"},
		{"changed_days"},
		{"counted_days"},
		{"traffic_daily", "closed_visits", "pages_daily", "groups_daily"},
	}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("stages %q, want %q", got, want)
	}
	if stages(nil) != nil {
		t.Error("there is a stage of no table")
	}
}

// TestAtOnce: as many at a time as the connection has connections, since one more would
// find none and fail; and no more than four.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	for connections, want := range map[int]int{1: 1, 3: 3, 9: atOnceMax} {
		synctest.Test(t, func(t *testing.T) {
			conn, err := clickhouse.Open(clickhouse.Config{URL: secret.New("http+unix:///nowhere?database=metiva"), ConnectionsMax: connections})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			var mu sync.Mutex
			now, most, done := 0, 0, 0
			err = atOnce(t.Context(), conn, make([]string, 10), func(context.Context, string) error {
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				<-time.After(time.Second) // of the bubble
				mu.Lock()
				now, done = now-1, done+1
				mu.Unlock()
				return nil
			})
			if err != nil || most != want || done != 10 {
				t.Errorf("of %d connections %d were in use at once, want %d; %d done (%v)", connections, most, want, done, err)
			}
			failed := errors.New("failed")
			if err := atOnce(t.Context(), conn, []string{"a", "b"}, func(_ context.Context, name string) error {
				if name == "a" {
					return failed
				}
				return nil
			}); !errors.Is(err, failed) {
				t.Errorf("a failure is %v", err)
			}
		})
	}
}
