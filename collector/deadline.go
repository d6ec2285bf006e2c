package collector

import (
	"errors"
	"os"
	"time"
)

// deadline is when reading from, or writing to, a connection ends. The server
// moves it with each request, mostly later, and moving the timer costs more than
// reading a small request does. So a later moment is only noted, and the timer
// moved when it fires before it; an earlier one moves it when the connection is
// about to wait. The connection's own goroutine uses it, no other.
type deadline struct {
	wanted time.Time // zero: none
	armed  time.Time // what the timer has; zero: none
}

// due reports whether the timer would fire too late for what is wanted, or not at
// all.
func (d *deadline) due() bool {
	return !d.wanted.IsZero() && (d.armed.IsZero() || d.wanted.Before(d.armed))
}

// early reports whether an error is the timer's, from before the wanted moment.
func (d *deadline) early(err error) bool {
	return err != nil && errors.Is(err, os.ErrDeadlineExceeded) && (d.wanted.IsZero() || time.Now().Before(d.wanted))
}

// SetDeadline sets both.
func (c *conn) SetDeadline(t time.Time) error {
	c.reading.wanted, c.writing.wanted = t, t
	return nil
}

// SetReadDeadline sets when reading ends; that of a stop stays earlier.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.reading.wanted = t
	return nil
}

// SetWriteDeadline sets when writing ends.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.writing.wanted = t
	return nil
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		if c.reading.due() {
			if err := c.armRead(); err != nil {
				return 0, err
			}
		}
		n, err := c.Conn.Read(b)
		if n > 0 && !c.spoke.Load() {
			c.spoke.Store(true)
		}
		if n > 0 || !c.reading.early(err) || c.listener.readBy.Load() != 0 {
			return n, err
		}
		if err := c.armRead(); err != nil {
			return 0, err
		}
	}
}

// armRead moves the timer for reading to the wanted moment, or to the listener's
// end of reading if that is earlier.
func (c *conn) armRead() error {
	c.stopping.Lock()
	defer c.stopping.Unlock()
	t := c.reading.wanted
	c.reading.armed = t
	if by := c.listener.readBy.Load(); by != 0 && (t.IsZero() || t.UnixNano() > by) {
		t = time.Unix(0, by)
	}
	return c.Conn.SetReadDeadline(t)
}

// stopReading ends reading at a moment, also one that is under way.
func (c *conn) stopReading(at time.Time) {
	c.stopping.Lock()
	defer c.stopping.Unlock()
	_ = c.Conn.SetReadDeadline(at) // of a connection that is closed already
}

func (c *conn) Write(b []byte) (written int, err error) {
	for {
		if c.writing.due() {
			c.writing.armed = c.writing.wanted
			if err := c.Conn.SetWriteDeadline(c.writing.wanted); err != nil {
				return written, err
			}
		}
		n, err := c.Conn.Write(b[written:])
		if written += n; !c.writing.early(err) {
			return written, err
		}
		c.writing.armed = c.writing.wanted
		if err := c.Conn.SetWriteDeadline(c.writing.wanted); err != nil {
			return written, err
		}
	}
}
