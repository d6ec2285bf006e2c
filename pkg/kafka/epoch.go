package kafka

import (
	"context"
	"errors"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
)

// An epoch is, from its highest bit on: how often the group's generations have begun
// anew (or a member made 65,536 claims), the generation, and the claim of the member.
const (
	attemptBits    = 16
	generationBits = 32
	eraMax         = 1<<(64-generationBits-attemptBits) - 1
)

var errEpochs = errors.New("kafka: the group has begun anew too often")

// Epoch is a number for what the owner of this claim writes beside its offsets: no other
// claim has it, and that of a later owner is higher. seen is the highest that former
// owners have left. Where the claim's own would not be above it, the broker is asked
// whose the partition is: of a former owner that wakes up late (ErrFenced), or of a
// group whose generations count from one again, since it was deleted.
func (c *Claim) Epoch(ctx context.Context, seen uint64) (uint64, error) {
	era := seen >> (generationBits + attemptBits)
	own := uint64(uint32(c.gen.gen.ID))<<attemptBits | uint64(c.attempt&(1<<attemptBits-1))
	if e := era<<(generationBits+attemptBits) | own; e > seen {
		return e, nil
	}
	if err := c.Confirm(ctx); err != nil {
		return 0, err
	}
	if era >= eraMax {
		return 0, errEpochs
	}
	return (era+1)<<(generationBits+attemptBits) | own, nil
}

// Confirm asks the broker whether the partition is still this claim's, by committing
// what is committed already: ErrFenced if its generation has ended. It may end right
// after. (kafka-go reads the answer to a heartbeat wrongly.)
func (c *Claim) Confirm(ctx context.Context) error { return c.commit(ctx, c.committed, c.metadata) }

// fenced makes an error that says the generation has ended an ErrFenced.
func fenced(err error) error {
	switch {
	case errors.Is(err, kafkago.IllegalGeneration), errors.Is(err, kafkago.UnknownMemberId),
		errors.Is(err, kafkago.RebalanceInProgress), errors.Is(err, kafkago.FencedInstanceID):
		return fmt.Errorf("%w: %w", ErrFenced, err)
	}
	return err
}
