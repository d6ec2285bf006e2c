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
func pipe(t *testing.T, times timeouts) (*conn, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	l := &listener{open: map[*conn]struct{}{}, timeouts: times, begun: time.Now()}
	c := l.newConn(near)
	l.open[c] = struct{}{}
	return c, far
}

// TestReadingEnds: a request has its time from its first byte on, however it is
// spread, and the wait for it has one of its own; both by the clock of the last
// sweep.
func TestReadingEnds(t *testing.T) {
	t.Parallel()
	const read, idle = 10 * time.Second, 75 * time.Second
	for name, c := range map[string]struct {
		bytes []time.Duration // when one comes
		begun []int           // behind which of them the request is handled
		ends  time.Duration
	}{
		"a first request that does not come":          {nil, nil, read},
		"a first request, byte by byte":               {[]time.Duration{3 * time.Second, 6 * time.Second, 9 * time.Second}, nil, read},
		"no second request":                           {[]time.Duration{time.Second}, []int{0}, time.Second + idle},
		"a second request that stays half":            {[]time.Duration{time.Second, 60 * time.Second}, []int{0}, 60*time.Second + read},
		"a second request, byte by byte":              {[]time.Duration{time.Second, 60 * time.Second, 65 * time.Second, 69 * time.Second}, []int{0}, 60*time.Second + read},
		"a third one, long after the first's was due": {[]time.Duration{9 * time.Second, 30 * time.Second}, []int{0, 1}, 30*time.Second + idle},
	} {
		synctest.Test(t, func(t *testing.T) {
			conn, far := pipe(t, timeouts{read: read, idle: idle, ack: time.Hour})
			start := time.Now()
			stop := make(chan struct{})
			go conn.listener.keepTime(stop)
			defer close(stop)
			go func() {
				for _, at := range c.bytes {
					<-time.After(time.Until(start.Add(at)))
					_, _ = far.Write([]byte{1})
				}
			}()
			for i := 0; ; i++ {
				n, err := conn.Read(make([]byte, 1))
				if n == 1 && err == nil {
					if len(c.begun) > 0 && c.begun[0] == i {
						c.begun = c.begun[1:]
						conn.begin()
						conn.unwritten = false // as after an answer
					}
					continue
				}
				if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took < c.ends-sweepMax || took > c.ends+2*sweepMax {
					t.Errorf("%s: ended after %s with %v, want %s", name, took, err, c.ends)
				}
				return
			}
		})
	}
}

// An end that was set for an earlier request does not end the next one.
func TestALateEndEndsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, far := pipe(t, timeouts{read: time.Second, idle: time.Minute})
		c.endReading() // found due, and handled before it was ended
		c.begin()
		go func() {
			<-time.After(5 * time.Second)
			_, _ = far.Write([]byte{1})
		}()
		if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
	})
}

func TestWritingEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, far := pipe(t, timeouts{write: 10 * time.Second})
		go func() { _, _ = far.Read(make([]byte, 1)) }()
		start := time.Now()
		_, err := c.Write([]byte{1, 2, 3})
		if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took != 10*time.Second {
			t.Errorf("ended after %s with %v", took, err)
		}
	})
}

func TestAStopsDeadlineStands(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, far := pipe(t, timeouts{read: time.Minute, idle: time.Minute})
		go func() { _, _ = far.Write([]byte{1}) }()
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		go func() {
			<-time.After(5 * time.Second)
			c.listener.drain(time.Now(), 2*time.Second)
			c.readOn()
			c.endReading() // neither moves it
		}()
		for range 2 {
			_, err := c.Read(make([]byte, 1))
			if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took != 7*time.Second {
				t.Errorf("reading that waited ended after %s with %v", took, err)
			}
		}
	})
}
