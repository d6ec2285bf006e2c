package collector

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
)

// roundListener answers Accept from a script: a connection, or the end of a round.
type roundListener struct {
	net.Listener
	script []error
}

func (l *roundListener) Accept() (net.Conn, error) {
	if len(l.script) == 0 {
		return nil, os.ErrDeadlineExceeded
	}
	err := l.script[0]
	l.script = l.script[1:]
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	return near, far.Close()
}

// TestQueueIsReadToItsEnd: a round that found something is followed by another
// one, also when each connection was handed out, and the first round alone, which
// may have passed before anybody looked, says nothing.
func TestQueueIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	over := os.ErrDeadlineExceeded
	for name, c := range map[string]struct {
		script []error
		taken  int
	}{
		"nobody looked in time":         {[]error{over, nil, nil}, 2},
		"some, and the end of a round":  {[]error{nil, over, nil, over, nil, over, over, nil}, 3},
		"nobody":                        {[]error{over, over, nil}, 0},
		"all in the first":              {[]error{nil, nil, over, over}, 2},
		"the end of a round, then some": {[]error{over, nil, over, nil, over, over}, 2},
	} {
		e := newEdge(t, nil, nil)
		tcp, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tcp.Close() })
		ln := e.newListener(deadlined{&roundListener{script: c.script}, tcp.(*net.TCPListener)})
		ln.closing.Store(true)
		taken := 0
		for {
			conn, err := ln.Accept()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.Errorf("%s: %v", name, err)
				}
				break
			}
			conn.Close()
			taken++
		}
		if taken != c.taken {
			t.Errorf("%s: %d connections were taken, want %d", name, taken, c.taken)
		}
	}
}

// deadlined gives a listener the deadlines of another.
type deadlined struct {
	net.Listener
	*net.TCPListener
}

func (d deadlined) Accept() (net.Conn, error) { return d.Listener.Accept() }
func (d deadlined) Close() error              { return nil }
func (d deadlined) Addr() net.Addr            { return d.TCPListener.Addr() }
