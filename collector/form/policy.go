package form

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Prefix begins the names that are ours in a form post.
const Prefix = schemas.FormPrefix

// Policy is what may be captured of one form. It is never changed.
type Policy struct {
	ID     string
	Fields []Field
	// TextVersions may stand beside the form's box.
	TextVersions []string

	redirects []redirect
}

// Field is a field a capture may hold.
type Field struct {
	Name     string
	Kind     metivav1.FieldKind
	Required bool
}

// redirect is a registered address, in the one spelling that is compared.
type redirect struct{ normal, registered string }

// NewPolicy reads a form's policy. Origins are the site's, as mask.AppendOrigin
// writes them: an address to go back to stands on one of them. The error names
// every fault, and no value of the policy.
func NewPolicy(rec *metivav1.FormPolicy, origins []string) (*Policy, error) {
	p := &Policy{ID: rec.GetFormId(), TextVersions: slices.Clone(rec.GetTextVersions())}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("form policy: "+format, args...)) }
	if !isName(p.ID, schemas.FormIDBytesMax, "._-") {
		fault("the form id is not of its form")
	}
	if n := len(rec.GetFields()); n == 0 || n > schemas.FormFieldsMax {
		fault("%d fields, 1 to %d are allowed", n, schemas.FormFieldsMax)
	}
	for i, f := range rec.GetFields() {
		field := Field{Name: f.GetName(), Kind: f.GetKind(), Required: f.GetRequired()}
		if err := field.check(); err != nil {
			fault("field %d: %w", i+1, err)
		}
		if p.find([]byte(field.Name)) >= 0 {
			fault("field %d: another field has its name", i+1)
		}
		p.Fields = append(p.Fields, field)
	}
	if n := len(p.TextVersions); n == 0 || n > schemas.ConsentTextsMax {
		fault("%d text versions, 1 to %d are allowed", n, schemas.ConsentTextsMax)
	}
	for i, version := range p.TextVersions {
		if !consent.IsTextVersion(version) {
			fault("text version %d is not of its form", i+1)
		}
	}
	if n := len(rec.GetRedirectUrls()); n > schemas.RedirectURLsMax {
		fault("%d addresses to go back to, at most %d are allowed", n, schemas.RedirectURLsMax)
	}
	for i, registered := range rec.GetRedirectUrls() {
		a, ok := schemas.ReadWebAddress(registered)
		if !ok || !slices.Contains(origins, a.Origin) {
			fault("address %d to go back to is none, or on no origin of the site", i+1)
		}
		p.redirects = append(p.redirects, redirect{normal: a.Origin + a.Rest, registered: registered})
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return p, nil
}

// Redirect is the registered address that is the one asked for; ok is false
// when none is.
func (p *Policy) Redirect(asked []byte) (registered string, ok bool) {
	a, ok := schemas.ReadWebAddress(asked)
	if !ok {
		return "", false
	}
	normal := a.Origin + a.Rest
	for _, r := range p.redirects {
		if r.normal == normal {
			return r.registered, true
		}
	}
	return "", false
}

// find is the place of the field of a name, or -1.
func (p *Policy) find(name []byte) int {
	for i := range p.Fields {
		if p.Fields[i].Name == string(name) {
			return i
		}
	}
	return -1
}

func (f Field) check() error {
	switch _, known := metivav1.FieldKind_name[int32(f.Kind)]; {
	case !isName(f.Name, schemas.FormFieldNameBytesMax, "._-[]:"):
		return errors.New("the name is not of its form")
	case strings.HasPrefix(f.Name, Prefix):
		return errors.New("the name begins with " + Prefix)
	case schemas.SensitiveField(f.Name) != "":
		return errors.New("the name is that of what is never captured")
	case f.Kind == metivav1.FieldKind_FIELD_KIND_UNSPECIFIED || !known:
		return errors.New("the kind is none")
	}
	return nil
}

// isName accepts 1 to bytesMax letters, digits and the others.
func isName(text string, bytesMax int, others string) bool {
	for i := range len(text) {
		if c := text[i]; !isAlnum(c) && strings.IndexByte(others, c) < 0 {
			return false
		}
	}
	return text != "" && len(text) <= bytesMax
}

func isAlnum(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' }
