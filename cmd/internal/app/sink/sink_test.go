package sink

import (
	"testing"
	"time"

	stage "github.com/metiva-io/metiva/sink"
)

// TestRebalanceTimeout: the others wait no less than a batch may go on, and a sink that
// crashed holds them up for no longer than its session.
func TestRebalanceTimeout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg  Config
		want time.Duration
	}{
		"the defaults":     {Config{SessionTimeout: 10 * time.Second}, 10 * time.Second},
		"a short session":  {Config{SessionTimeout: time.Second}, 6 * time.Second},
		"a long drain":     {Config{SessionTimeout: 10 * time.Second, Sink: stage.Config{DrainTimeout: 20 * time.Second}}, 40 * time.Second},
		"a longer session": {Config{SessionTimeout: time.Minute}, time.Minute},
	} {
		if got := c.cfg.rebalanceTimeout(); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
