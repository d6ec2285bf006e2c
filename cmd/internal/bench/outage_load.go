package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
)

// shot is one event that was sent, and what became of it.
type shot struct {
	id [16]byte
	// at is when it was meant to be sent, since the begin of the load.
	at time.Duration
	// took counts from there to the answer.
	took time.Duration
	// status is 0 when there was no answer.
	status   int16
	accepted bool
}

// steady is a load of single events at moments that do not depend on the answers. Every
// second connection asks for no results, as the snippet does.
type steady struct {
	address     string
	visitors    visitors
	connections int
	rate        float64 // events a second
	began       time.Time
}

// run sends until stop is closed, and waits for the last answers.
func (s *steady) run(ctx context.Context, stop <-chan struct{}) []shot {
	every := time.Duration(float64(time.Second) * float64(s.connections) / s.rate)
	senders := make([]*sender, s.connections)
	var sending sync.WaitGroup
	for i := range senders {
		l := &sender{load: s, ids: newIDSource()}
		visitors := s.visitors
		visitors.results = visitors.results && i%2 == 0
		for j := range requestsPerConnection {
			l.requests = append(l.requests, visitors.of(i*requestsPerConnection+j, 1))
		}
		senders[i] = l
		first := every * time.Duration(i) / time.Duration(s.connections)
		sending.Go(func() { l.run(ctx, first, every, stop) })
	}
	sending.Wait()
	var all []shot
	for _, l := range senders {
		all = append(all, l.shots...)
	}
	return all
}

// sender is one kept connection; it opens another when it breaks.
type sender struct {
	load     *steady
	ids      *idSource
	requests []*request
	conn     net.Conn
	reader   *bufio.Reader
	answer   message
	shots    []shot
}

func (l *sender) run(ctx context.Context, at, every time.Duration, stop <-chan struct{}) {
	timer := time.NewTimer(time.Until(l.load.began.Add(at)))
	defer timer.Stop()
	defer func() {
		if l.conn != nil {
			_ = l.conn.Close()
		}
	}()
	for n := 0; ; n++ {
		timer.Reset(time.Until(l.load.began.Add(at)))
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		r := l.requests[n%len(l.requests)]
		r.freshen(time.Now(), l.ids)
		s := shot{at: at}
		s.id, _ = uuid.ParseBytes(r.raw[r.ids[0] : r.ids[0]+len(idPlace)]) // made by freshen
		if err := l.exchange(ctx, r.raw); err == nil {
			s.status = int16(l.answer.status)
			s.accepted = l.answer.status == http.StatusNoContent ||
				l.answer.status/100 == 2 && bytes.Contains(l.answer.body(), []byte(`"outcome":"accepted"`))
		} else if l.conn != nil {
			_ = l.conn.Close()
			l.conn = nil
		}
		s.took = time.Since(l.load.began) - at
		l.shots = append(l.shots, s)
		at += every
	}
}

// exchange sends one request, once.
func (l *sender) exchange(ctx context.Context, request []byte) error {
	if l.conn == nil {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", l.load.address)
		if err != nil {
			return fmt.Errorf("opening a connection: %w", err)
		}
		l.conn, l.reader = conn, bufio.NewReaderSize(conn, answerBufferBytes)
	}
	if err := l.conn.SetDeadline(time.Now().Add(2 * answerWait)); err != nil {
		return fmt.Errorf("setting the deadline of a connection: %w", err)
	}
	if _, err := l.conn.Write(request); err != nil {
		return fmt.Errorf("sending a request: %w", err)
	}
	if err := l.answer.read(l.reader); err != nil {
		return err
	}
	if l.answer.status == 0 {
		return errors.New("the answer is no answer")
	}
	return nil
}
