package collector

import (
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Superseded reports whether a spooled record must not be sent any more: a data
// key that was destroyed since, which would come back; or a withdrawal that a
// later one covers, which would take the later one's place on the compacted
// topic. The same sequence does not count, since it may be this very record that
// was applied here.
func (c *Collector) Superseded(topic string, key, value []byte) bool {
	if topic == schemas.TopicControlKeys {
		return c.sealer.Destroyed(key)
	}
	if topic != schemas.TopicControlWithdrawals || len(value) == 0 {
		return false
	}
	var rec metivav1.Withdrawal
	if err := proto.Unmarshal(value, &rec); err != nil || len(rec.GetSubjectId()) != consent.IDBytes || rec.GetSequence() == math.MaxUint64 {
		return false
	}
	return c.withdrawals.Withdrawn(rec.GetCompanyId(), [consent.IDBytes]byte(rec.GetSubjectId()), rec.GetSequence()+1)
}
