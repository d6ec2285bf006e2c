package seal

import "encoding/binary"

// Fields a value is sealed as.
const (
	FieldAddress   = "ip"
	FieldUserAgent = "ua"
)

// Binding says which event a sealed value belongs to. It is authenticated, not
// stored: opening needs the same binding again.
type Binding struct {
	CompanyID string
	SiteID    string
	EventID   [16]byte
	Field     string // FieldAddress, FieldUserAgent
}

// appendTo writes the additional data of the seal: each part behind its length,
// so that no two bindings share an encoding.
func (b *Binding) appendTo(dst []byte) []byte {
	// "ip.v1": what is sealed, and the version of its plaintext.
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(b.Field)+len(plainVersion)))
	dst = append(dst, b.Field...)
	dst = append(dst, plainVersion...)
	dst = appendPart(dst, b.CompanyID)
	dst = appendPart(dst, b.SiteID)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(b.EventID)))
	dst = append(dst, b.EventID[:]...)
	return appendPart(dst, b.Field)
}

const plainVersion = ".v1"

func appendPart[T string | []byte](dst []byte, part T) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(part)))
	return append(dst, part...)
}
