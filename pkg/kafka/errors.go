package kafka

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Errors callers tell apart with errors.Is.
var (
	// ErrBufferFull: the producer holds BufferedBytesMax already; answer
	// "retry" or keep the record elsewhere.
	ErrBufferFull = errors.New("kafka: producer buffer is full")
	// ErrClosed: Run has ended or is ending.
	ErrClosed = errors.New("kafka: closed")
	// ErrTooLarge: the record alone exceeds BatchBytesMax.
	ErrTooLarge = errors.New("kafka: record is larger than a batch")
	// ErrDeliveryTimeout: no acknowledgement within DeliveryTimeout. Together
	// with ErrOutcomeUnknown the records may be in the log; alone they are not.
	ErrDeliveryTimeout = errors.New("kafka: not acknowledged in time")
	// ErrOutcomeUnknown: the batch may or may not have been appended. Whoever
	// sends its records again must expect them twice.
	ErrOutcomeUnknown = errors.New("kafka: batch may or may not have been written")
	// ErrFenced: the partition belongs to a newer generation of the group;
	// nothing was committed.
	ErrFenced = errors.New("kafka: partition belongs to another generation of the group")
	// ErrPlanOrder: Plan or Commit was called for a batch that is not the
	// oldest uncommitted one of its claim.
	ErrPlanOrder = errors.New("kafka: batch is not the oldest uncommitted one")
)

// verdict is what a produce attempt means for its batch.
type verdict int

const (
	delivered verdict = iota
	// retryClean: not appended, and trying again may help.
	retryClean
	// retryUnclear: may have been appended; the same bytes may be sent again.
	retryUnclear
	// lostIdentity: not appended now; the broker does not know our sequence.
	lostIdentity
	// refused: not appended, and trying again does not help.
	refused
)

// judge reads the outcome of one produce attempt. Only what is known to be
// decided before the append counts as clean: a leader that loses its partition
// while it waits for followers answers NOT_LEADER after the append.
func judge(err error) verdict {
	if err == nil {
		return delivered
	}
	var code kafkago.Error
	if errors.As(err, &code) {
		switch code {
		case kafkago.DuplicateSequenceNumber:
			return delivered
		case kafkago.OutOfOrderSequenceNumber, kafkago.UnknownProducerId, kafkago.InvalidProducerEpoch,
			kafkago.InvalidProducerIDMapping, kafkago.ProducerFenced:
			return lostIdentity
		case kafkago.NotEnoughReplicas, kafkago.LeaderNotAvailable, kafkago.BrokerNotAvailable:
			return retryClean
		case kafkago.Unknown:
			return retryUnclear
		}
		if code.Temporary() {
			return retryUnclear
		}
		return refused
	}
	if isRoutingError(err) || isDialError(err) {
		return retryClean
	}
	return retryUnclear
}

// isRoutingError reports that the request was never sent, because the leader
// is not known.
func isRoutingError(err error) bool {
	return errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition) ||
		errors.Is(err, protocol.ErrNoLeader) || errors.Is(err, kafkago.BrokerNotAvailable)
}

func isDialError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// wantsRefresh reports that what we know of the cluster may be out of date.
func wantsRefresh(err error) bool {
	switch {
	case err == nil:
		return false
	case isRoutingError(err), isDialError(err),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return true
	}
	for _, code := range []kafkago.Error{
		kafkago.NotLeaderForPartition, kafkago.LeaderNotAvailable, kafkago.UnknownTopicOrPartition, kafkago.ReplicaNotAvailable,
		kafkago.FencedLeaderEpoch, kafkago.UnknownLeaderEpoch, kafkago.NotCoordinatorForGroup, kafkago.BrokerNotAvailable, kafkago.KafkaStorageError,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// wantsLeader reports that a partition's leader may be another by now.
func wantsLeader(err error) bool { return wantsRefresh(err) || isTimeout(err) }

// hasMoved reports that the broker is no longer the leader: another is, or will
// be as soon as the brokers agree.
func hasMoved(err error) bool {
	return errors.Is(err, kafkago.NotLeaderForPartition) || errors.Is(err, kafkago.FencedLeaderEpoch)
}

// isTimeout reports that there was no answer in time, while connecting or after.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// isBroken reports that a connection ended under a request.
func isBroken(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op) && op.Op != "dial" && !op.Timeout()
}

// isTransient reports that a read or a commit may succeed when repeated:
// everything but what the broker refuses for good.
func isTransient(err error) bool {
	var code kafkago.Error
	if errors.As(err, &code) {
		return code.Temporary() || code == kafkago.Unknown || code == kafkago.BrokerNotAvailable
	}
	return !errors.Is(err, errCorrupt) && !errors.Is(err, errOldBroker)
}
