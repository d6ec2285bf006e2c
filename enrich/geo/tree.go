package geo

import (
	"encoding/binary"
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"
)

// The search tree of a database, by the specification of the format
// (https://maxmind.github.io/MaxMind-DB/): nodes of two records each; a record below the
// number of nodes is another node, that number itself is nothing, and above it, less 16
// bytes, is an offset into the data.
const (
	treeSeparator = 16
	// rootBits is how many leading bits of an IPv4 address lead to a node at once.
	rootBits = 16
	// ipv4At is how deep the IPv4 networks lie in a tree of IPv6: ::/96.
	ipv4At = 96
)

// tree finds IPv4 networks in a database. The package maxminddb begins each look-up
// at the first bit; here the first 16 are taken in one step, so that an address that was
// cut to /24 needs eight more. It is of 320 KiB.
type tree struct {
	nodes []byte // a part of the file
	count uint32
	size  uint // of a record, bits: 24, 28 or 32
	data  uint32
	// roots is where the first 16 bits lead, and depths how many of them it took.
	roots  []uint32
	depths []uint8
}

// newTree reads the upper half of the IPv4 tree of a file, or gives nil for one that it
// does not understand: the package maxminddb then looks up, or says what is wrong.
func newTree(file []byte, m *maxminddb.Metadata) *tree {
	bytes := uint64(m.NodeCount) * uint64(m.RecordSize) / 4
	rest := uint64(len(file)) - min(bytes+treeSeparator, uint64(len(file)))
	if m.NodeCount == 0 || uint64(m.NodeCount) >= 1<<31 || rest == 0 || rest >= 1<<31 {
		return nil
	}
	switch m.RecordSize {
	case 24, 28, 32:
	default:
		return nil
	}
	t := &tree{
		nodes: file[:bytes], count: uint32(m.NodeCount), size: m.RecordSize, data: uint32(rest),
		roots: make([]uint32, 1<<rootBits), depths: make([]uint8, 1<<rootBits),
	}
	root := uint32(0)
	if m.IPVersion == 6 {
		for range ipv4At {
			if root = t.child(root, 0); root >= t.count {
				return nil // one answer for all IPv4 addresses, or none
			}
		}
	}
	t.spread(root, 0, 0)
	return t
}

// spread notes where the addresses behind a node lead that begin with prefix, of depth
// bits.
func (t *tree) spread(node, prefix uint32, depth uint8) {
	if depth == rootBits || node >= t.count {
		width := uint32(1) << (rootBits - depth)
		for i := prefix * width; i < (prefix+1)*width; i++ {
			t.roots[i], t.depths[i] = node, depth
		}
		return
	}
	t.spread(t.child(node, 0), prefix<<1, depth+1)
	t.spread(t.child(node, 1), prefix<<1|1, depth+1)
}

// child is one of the two records of a node.
func (t *tree) child(node, bit uint32) uint32 {
	switch t.size {
	case 24:
		b := t.nodes[int(node)*6+int(bit)*3:]
		return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
	case 28:
		b := t.nodes[int(node)*7:]
		if bit == 0 {
			return uint32(b[3]&0xf0)<<20 | uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
		}
		return uint32(b[3]&0x0f)<<24 | uint32(b[4])<<16 | uint32(b[5])<<8 | uint32(b[6])
	default:
		return binary.BigEndian.Uint32(t.nodes[int(node)*8+int(bit)*4:])
	}
}

// find gives the offset of the record of an IPv4 address and the length of its network.
// Without a record, found is false and bits the length of the empty network. ok is false
// where the tree is damaged.
func (t *tree) find(addr netip.Addr) (offset uintptr, bits int, found, ok bool) {
	four := addr.As4()
	address := binary.BigEndian.Uint32(four[:])
	node, depth := t.roots[address>>rootBits], int(t.depths[address>>rootBits])
	for rest := address << rootBits; node < t.count; rest <<= 1 {
		if depth == 32 {
			return 0, 0, false, false
		}
		node = t.child(node, rest>>31)
		depth++
	}
	switch at := node - t.count; {
	case at == 0:
		return 0, depth, false, true
	case at < treeSeparator || at-treeSeparator >= t.data:
		return 0, 0, false, false
	default:
		return uintptr(at - treeSeparator), depth, true, true
	}
}
