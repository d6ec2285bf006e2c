package schemas

import "github.com/metiva-io/metiva/schemas/metivav1"

// DeadReasons are the reasons of drops that leave a dead letter: the event may still be
// recovered from it. A drop with another reason is final.
func DeadReasons() []metivav1.Reason {
	return []metivav1.Reason{
		metivav1.Reason_REASON_INTERNAL, metivav1.Reason_REASON_INVALID_RECORD, metivav1.Reason_REASON_UNKNOWN_KEY,
		metivav1.Reason_REASON_TAMPERED, metivav1.Reason_REASON_REJECTED_ROW,
	}
}
