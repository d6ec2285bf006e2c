package eventwire

import (
	"hash/maphash"
	"strings"
)

const (
	// pieceBytes is the memory that a text which is kept may hold on to.
	pieceBytes = 2 << 10
	// namesKept is a power of two; nameBytesMax bounds each of them.
	namesKept    = 1 << 9
	nameBytesMax = 128
)

// texts copies the texts of events: names that come again and again once, and
// others into pieces that several events share.
type texts struct {
	piece strings.Builder
	seed  maphash.Seed
	names []string // by hash; made when first needed
}

// copied is a copy of b, in the present piece when there is room.
func (t *texts) copied(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if len(b) > t.piece.Cap()-t.piece.Len() {
		if len(b) > pieceBytes/2 {
			return string(b)
		}
		t.piece.Reset() // forgets the piece; its texts keep it
		t.piece.Grow(pieceBytes)
	}
	from := t.piece.Len()
	t.piece.Write(b)
	return t.piece.String()[from:]
}

func (t *texts) slot(b []byte) *string {
	return &t.names[maphash.Bytes(t.seed, b)%namesKept]
}

// shared is the copy of b that is there already.
func (t *texts) shared(b []byte) (string, bool) {
	if len(t.names) == 0 || len(b) > nameBytesMax {
		return "", len(b) == 0
	}
	s := *t.slot(b)
	return s, s == string(b)
}

// share keeps a copy of b in place of another name.
func (t *texts) share(b []byte) string {
	if len(b) > nameBytesMax {
		return t.copied(b)
	}
	if len(t.names) == 0 {
		t.seed, t.names = maphash.MakeSeed(), make([]string, namesKept)
	}
	s := string(b)
	*t.slot(b) = s
	return s
}
