package schemas

// ReplayMarkBytes is how much MarkReplayed adds to a record.
const ReplayMarkBytes = 3

// MarkReplayed appends CollectedEvent.replayed = true to an encoded
// CollectedEvent. Fields may follow each other in any order, so what is encoded
// already stays as it is.
func MarkReplayed(value []byte) []byte {
	// Field 22 as a varint: the tag is 22<<3, in two bytes of seven bits.
	return append(value, 0xb0, 0x01, 0x01)
}
