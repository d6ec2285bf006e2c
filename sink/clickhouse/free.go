package clickhouse

import "sync"

// free keeps blocks for their next use: as many as are used at once, which the sink's
// memory bounds, and at most freeMax. A sync.Pool would lose them to every second
// collection of garbage, and with them the room they have grown.
type free[T any] struct {
	mu   sync.Mutex
	kept []T
}

const freeMax = 4

func (f *free[T]) take() (v T, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.kept); n > 0 {
		v, f.kept = f.kept[n-1], f.kept[:n-1]
		return v, true
	}
	return v, false
}

func (f *free[T]) give(v T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.kept) < freeMax {
		f.kept = append(f.kept, v)
	}
}
