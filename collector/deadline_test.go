package collector

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// pipe is a connection of a listener and its other end, on a clock of its own.
func pipe(t *testing.T) (*conn, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return &conn{Conn: near, listener: &listener{open: map[*conn]struct{}{}}, accepted: time.Now()}, far
}

func TestReadEndsAtTheDeadline(t *testing.T) {
	t.Parallel()
	for name, moves := range map[string][]time.Duration{
		"once":           {10 * time.Second},
		"later":          {10 * time.Second, 75 * time.Second},
		"earlier":        {75 * time.Second, 10 * time.Second},
		"there and back": {10 * time.Second, 75 * time.Second, 20 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, far := pipe(t)
			go func() {
				for range moves[1:] {
					_, _ = far.Write([]byte{1})
				}
			}()
			start := time.Now()
			for i, move := range moves {
				_ = c.SetReadDeadline(start.Add(move))
				n, err := c.Read(make([]byte, 1))
				if i < len(moves)-1 {
					if n != 1 || err != nil {
						t.Fatalf("%s: read %d, %v", name, n, err)
					}
					continue
				}
				if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took != move {
					t.Errorf("%s: ended after %s with %v, want %s", name, took, err, move)
				}
			}
		})
	}
}

func TestADeadlineTakenAwayEndsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, far := pipe(t)
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		go func() {
			_, _ = far.Write([]byte{1})
			<-time.After(time.Hour)
			_, _ = far.Write([]byte{1})
		}()
		for range 2 {
			if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			_ = c.SetDeadline(time.Time{})
		}
	})
}

func TestWriteEndsAtTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, far := pipe(t)
		start := time.Now()
		_ = c.SetWriteDeadline(start.Add(10 * time.Second))
		go func() { _, _ = far.Read(make([]byte, 1)) }()
		if n, err := c.Write([]byte{1}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		_ = c.SetWriteDeadline(start.Add(15 * time.Second))
		go func() {
			<-time.After(12 * time.Second) // after the first deadline
			_, _ = far.Read(make([]byte, 2))
		}()
		n, err := c.Write([]byte{1, 2, 3})
		if took := time.Since(start); n != 2 || !errors.Is(err, os.ErrDeadlineExceeded) || took != 15*time.Second {
			t.Errorf("wrote %d and ended after %s with %v", n, took, err)
		}
	})
}

func TestAStopsDeadlineStands(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, far := pipe(t)
		c.listener.open[c] = struct{}{}
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		go func() { _, _ = far.Write([]byte{1}) }()
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		go func() {
			<-time.After(5 * time.Second)
			c.listener.drain(time.Now(), 2*time.Second)
		}()
		_ = c.SetReadDeadline(start.Add(time.Minute))
		_, err := c.Read(make([]byte, 1))
		if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took != 7*time.Second {
			t.Errorf("reading that waited ended after %s with %v", took, err)
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 7*time.Second {
			t.Errorf("reading after the stop ended after %s with %v", time.Since(start), err)
		}
	})
}
