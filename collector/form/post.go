package form

import (
	"errors"
	"unicode/utf8"

	"github.com/metiva-io/metiva/collector/beacon"
	"github.com/metiva-io/metiva/collector/mask"
	"github.com/metiva-io/metiva/schemas"
)

var (
	// ErrMalformed means the post cannot be read, or breaks a rule of its form.
	ErrMalformed = errors.New("form: malformed post")
	// ErrTooLarge means a field, or their number, is over its limit.
	ErrTooLarge = errors.New("form: post over its limits")
)

// Post is one form's post. Its slices point into the body or into its own
// memory, until Clear. A Post reads one body.
type Post struct {
	Site, Form, ID, URL, Referrer, Token []byte
	TextVersion, Language, Redirect      []byte
	// AtMs and SentAtMs are the client's times, in Unix milliseconds; 0 without.
	AtMs, SentAtMs int64
	// HasAt: the post says when it was made.
	HasAt bool
	// Given: the visitor ticked the form's own box.
	Given  bool
	OptOut bool

	json    beacon.Capture
	encoded encoded
	isJSON  bool
	typed   mask.Typed
}

// Kept is the value of a named field.
type Kept struct {
	Name  string
	Value []byte
}

// ParseJSON reads everything but the fields of a JSON body. The error is
// ErrMalformed.
func (p *Post) ParseJSON(body []byte) error {
	c := &p.json
	p.isJSON = true
	if c.Parse(body) != nil {
		return ErrMalformed
	}
	p.Site, p.Form, p.ID, p.URL, p.Referrer, p.Token = c.Site, c.Form, c.ID, c.URL, c.Referrer, c.Token
	p.TextVersion, p.Language = c.TextVersion, c.Language
	p.AtMs, p.SentAtMs, p.HasAt = c.AtMs, c.SentAtMs, c.HasAt
	p.Given, p.OptOut = c.Given, c.OptOut
	return nil
}

// Fields are the values the policy names, in its order, and how many were left
// out because of what they hold. The error is ErrMalformed or ErrTooLarge.
func (p *Post) Fields(policy *Policy) (kept []Kept, leftOut int, err error) {
	var values [schemas.FormFieldsMax][]byte
	slot := func(name []byte) *[]byte {
		if i := policy.find(name); i >= 0 {
			return &values[i]
		}
		return nil
	}
	if p.isJSON {
		if p.json.Fields(slot) != nil {
			return nil, 0, ErrMalformed
		}
	} else if err := p.encoded.fields(slot); err != nil {
		return nil, 0, err
	}
	for i := range policy.Fields {
		field, value := &policy.Fields[i], trim(values[i])
		switch {
		case len(value) > schemas.FormFieldBytesMax:
			return nil, 0, ErrTooLarge
		case !utf8.Valid(value) || hasControl(value, field.Kind):
			return nil, 0, ErrMalformed
		case len(value) > 0 && !keeps(field.Kind, value, &p.typed):
			leftOut++
			value = nil
		}
		if len(value) > 0 {
			kept = append(kept, Kept{Name: field.Name, Value: value})
		} else if field.Required {
			return nil, leftOut, ErrMalformed
		}
	}
	if len(kept) == 0 {
		return nil, leftOut, ErrMalformed
	}
	return kept, leftOut, nil
}

// Clear overwrites every copy of a value. The body itself is the caller's.
func (p *Post) Clear() {
	p.json.Clear()
	p.encoded.clear()
	p.typed.Forget()
	*p = Post{}
}
