package seal

import (
	"encoding/binary"
	"strings"
)

// Fields a value is sealed as; see also FormField and PersonField.
const (
	FieldAddress   = "ip"
	FieldUserAgent = "ua"
)

const (
	formPrefix   = "form."
	personPrefix = "person."
)

// FormField is the field of a form's value: "form.<name>". Such a value is
// sealed under a key of its subject.
func FormField(name string) string { return formPrefix + name }

// PersonField is the field of a form's value once it is normalised:
// "person.<name>". It is sealed under the key its FormField is sealed under, and
// opens as nothing else.
func PersonField(name string) string { return personPrefix + name }

// Binding says which event a sealed value belongs to. It is authenticated, not
// stored: opening needs the same binding again.
type Binding struct {
	CompanyID string
	SiteID    string
	EventID   [16]byte
	// SubjectID is the person of a form's value; zero for every other field.
	SubjectID [16]byte
	Field     string // FieldAddress, FieldUserAgent, FormField(name), PersonField(name)
}

// ofForm reports whether the field is one FormField makes.
func (b *Binding) ofForm() bool {
	return len(b.Field) > len(formPrefix) && strings.HasPrefix(b.Field, formPrefix)
}

// ofPerson reports whether the field is one PersonField makes.
func (b *Binding) ofPerson() bool {
	return len(b.Field) > len(personPrefix) && strings.HasPrefix(b.Field, personPrefix)
}

// ofSubject reports whether the field is a person's: sealed under a key of theirs.
func (b *Binding) ofSubject() bool { return b.ofForm() || b.ofPerson() }

// check says whether the binding is whole: a person's value has a subject, and
// no other value has one.
func (b *Binding) check() error {
	if b.ofSubject() == (b.SubjectID == [16]byte{}) {
		return ErrBinding
	}
	return nil
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
	dst = appendPart(dst, b.Field)
	if b.ofSubject() {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(b.SubjectID)))
		dst = append(dst, b.SubjectID[:]...)
	}
	return dst
}

const plainVersion = ".v1"

func appendPart[T string | []byte](dst []byte, part T) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(part)))
	return append(dst, part...)
}
