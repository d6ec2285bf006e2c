package seal

import "net/netip"

// openingKeys is how many keys an Opening remembers: a power of two.
const openingKeys = 64

// Opening is the memory of one goroutine that opens addresses and agents one after the
// other: what an Opener would otherwise fetch and give back for each, and where the keys
// are that it used lately. A key's destruction holds all the same, from when ApplyKey has
// returned. It is of one Opener.
type Opening struct {
	buffer aadBuffer
	// address is the one opened last.
	address veiled[netip.Prefix]
	keys    [openingKeys]rememberedKey
}

type rememberedKey struct {
	id  uint64
	key *openingKey
}

// NewOpening returns the memory of a goroutine.
func NewOpening() *Opening {
	return &Opening{buffer: aadBuffer{bytes: make([]byte, 0, 160)}, address: veilOf(netip.Prefix{})}
}

// find is the key with an id. Those of days stay in the Opener once they are known, and
// are changed in place.
func (in *Opening) find(o *Opener, id uint64) *openingKey {
	slot := &in.keys[id%openingKeys]
	if slot.key == nil || slot.id != id {
		*slot = rememberedKey{id: id, key: o.find(id)}
	}
	return slot.key
}

// Forget clears the address that was opened last.
func (in *Opening) Forget() { *in.address.get() = netip.Prefix{} }

// OpenAddressIn is OpenAddress in the memory of one goroutine: what it returns holds until
// the next address is opened there, or Forget.
func (o *Opener) OpenAddressIn(in *Opening, b Binding, blob []byte) (Truncated, error) {
	if b.Field != FieldAddress {
		return Truncated{}, ErrField
	}
	buf := &in.buffer
	defer clear(buf.address[:])
	out, err := o.openIn(in, buf.address[:0], &b, blob)
	if err != nil {
		return Truncated{}, err
	}
	prefix, err := prefixFrom(out)
	if err != nil {
		return Truncated{}, err
	}
	*in.address.get() = prefix
	return Truncated{v: in.address}, nil
}

// OpenBytesIn is OpenBytes in the memory of one goroutine.
func (o *Opener) OpenBytesIn(in *Opening, dst []byte, b Binding, blob []byte) ([]byte, error) {
	if b.Field == FieldAddress || b.Field == "" || b.ofSubject() {
		return dst, ErrField
	}
	return o.openIn(in, dst, &b, blob)
}

func (o *Opener) openIn(in *Opening, dst []byte, b *Binding, blob []byte) ([]byte, error) {
	if err := b.check(); err != nil {
		return dst, err
	}
	key, err := o.lockKey(in, b, blob)
	if err != nil {
		return dst, err
	}
	return key.openLocked(&in.buffer, dst, b, blob)
}
