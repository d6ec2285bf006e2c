package analytics

import (
	"context"
	"testing"
	"time"
)

// TestADeadlineLiftsNoLimit: a question may take twenty seconds, whoever waits longer.
func TestADeadlineLiftsNoLimit(t *testing.T) {
	t.Parallel()
	r, err := NewReader(migrated(t), tenant("cmp_a"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	err = r.each(ctx, "SELECT toString(getSetting('max_execution_time'))", func(scan func(...any) error) error {
		var seconds string
		if err := scan(&seconds); err != nil {
			return err
		}
		if seconds != "20" {
			t.Errorf("the limit is %s seconds", seconds)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := r.each(ctx, "SELECT 1", func(func(...any) error) error { return nil }); err == nil {
		t.Error("a question was asked after its end")
	}
}
