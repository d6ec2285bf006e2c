package secret

import (
	"fmt"
	"io"
	"log/slog"
)

const mask = "***"

// Text is a string that prints as "***". The zero value is the empty secret.
type Text struct {
	// A pointer, because fmt prints the bytes of a nested string field of an
	// outer struct without asking for its String method when the field is
	// unexported; of a nested pointer it prints only the address.
	value *string
}

// New wraps a value.
func New(v string) Text { return Text{value: &v} }

// Reveal returns the value itself. Callers hand it to a driver and to nothing
// else.
func (t Text) Reveal() string {
	if t.value == nil {
		return ""
	}
	return *t.value
}

// IsZero reports whether the secret is empty.
func (t Text) IsZero() bool { return t.value == nil || *t.value == "" }

// UnmarshalText reads the value from configuration.
func (t *Text) UnmarshalText(b []byte) error {
	*t = New(string(b))
	return nil
}

// MarshalText prints the mask, so that no encoder writes the value.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// String prints the mask, or nothing for an empty secret.
func (t Text) String() string {
	if t.IsZero() {
		return ""
	}
	return mask
}

// GoString prints the mask under %#v.
func (t Text) GoString() string { return t.String() }

// Format prints the mask under every verb, %x and %p included.
func (t Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// LogValue prints the mask in slog records.
func (t Text) LogValue() slog.Value { return slog.StringValue(t.String()) }
