package choice

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/metiva-io/metiva/consent"
)

const (
	// ClaimsMax is how many further claims a call may bring.
	ClaimsMax = 4
	// VariantBytesMax is the longest name of a banner's variant.
	VariantBytesMax = 32

	siteKeyBytesMax  = 128
	choiceIDBytesMax = 36
)

// ErrMalformed is the one error of Parse: its cause may hold what a visitor
// typed.
var ErrMalformed = errors.New("choice: the body is not a call")

// Action is what a call asks for.
type Action uint8

const (
	// Choose gives or refuses consent.
	Choose Action = iota
	// ReadBack asks what is held to be true about a token.
	ReadBack
	// Withdraw takes consent back.
	Withdraw
)

// Call is the body of a request.
type Call struct {
	Action Action
	Site   string // site key
	// ID is the choice's id as sent: the same for every repetition of it.
	ID string
	// Token is the visitor's token, or empty.
	Token string
	// OptOut is the visitor's own opt-out.
	OptOut bool
	// Claim is what the visitor chose, HasClaim whether it is there.
	Claim    consent.Claim
	HasClaim bool
	// Others are further claims of the page. They lower only.
	Others []consent.Claim
	// Language and Variant are those of the text shown, as the page names them.
	Language, Variant string
}

// Parse reads a body.
func Parse(body []byte) (Call, error) {
	if !utf8.Valid(body) {
		return Call{}, ErrMalformed
	}
	r := reader{json.NewDecoder(bytes.NewReader(body))}
	r.UseNumber()
	var c Call
	var read, withdraw bool
	err := r.object(func(key string) error {
		switch key {
		case "site":
			return r.text(&c.Site, siteKeyBytesMax, isWord)
		case "choice":
			return r.text(&c.ID, choiceIDBytesMax, isWord)
		case "token":
			return r.text(&c.Token, consent.TokenBytesMax, isWord)
		case "language":
			if err := r.text(&c.Language, siteKeyBytesMax, isWord); err != nil || c.Language != "" && !consent.IsLanguage(c.Language) {
				return ErrMalformed
			}
			return nil
		case "ui":
			return r.text(&c.Variant, VariantBytesMax, isWord)
		case "opt_out":
			return r.flag(&c.OptOut)
		case "read":
			return r.flag(&read)
		case "withdraw":
			return r.flag(&withdraw)
		case "claim":
			c.HasClaim = true
			return r.claim(&c.Claim)
		case "claims":
			return r.claims(&c.Others)
		}
		return ErrMalformed
	})
	if err != nil {
		return Call{}, ErrMalformed
	}
	if _, err := r.Token(); !errors.Is(err, io.EOF) {
		return Call{}, ErrMalformed
	}
	switch {
	case read && withdraw, (read || withdraw) && (c.HasClaim || len(c.Others) > 0), c.Site == "":
		return Call{}, ErrMalformed
	case read:
		c.Action = ReadBack
	case withdraw:
		c.Action = Withdraw
	}
	return c, nil
}

// reader reads one value at a time.
type reader struct{ *json.Decoder }

// object reads an object and calls member for the value of each key. A key that
// stands twice is an error.
func (r reader) object(member func(key string) error) error {
	if err := r.delim('{'); err != nil {
		return err
	}
	var seen []string
	for r.More() {
		t, err := r.Token()
		key, ok := t.(string)
		if err != nil || !ok || slices.Contains(seen, key) {
			return ErrMalformed
		}
		seen = append(seen, key)
		if err := member(key); err != nil {
			return err
		}
	}
	return r.delim('}')
}

func (r reader) delim(want json.Delim) error {
	if t, err := r.Token(); err != nil || t != want {
		return ErrMalformed
	}
	return nil
}

// text reads a string of allowed characters; null counts as absent.
func (r reader) text(into *string, bytesMax int, allowed func(byte) bool) error {
	t, err := r.Token()
	if err != nil {
		return ErrMalformed
	}
	if t == nil {
		return nil
	}
	s, ok := t.(string)
	if !ok || len(s) > bytesMax {
		return ErrMalformed
	}
	for i := range len(s) {
		if !allowed(s[i]) {
			return ErrMalformed
		}
	}
	*into = s
	return nil
}

func (r reader) flag(into *bool) error {
	t, err := r.Token()
	b, ok := t.(bool)
	if err != nil || !ok && t != nil {
		return ErrMalformed
	}
	*into = b
	return nil
}

func (r reader) claims(into *[]consent.Claim) error {
	if err := r.delim('['); err != nil {
		return err
	}
	for r.More() {
		var c consent.Claim
		if err := r.claim(&c); err != nil {
			return err
		}
		if *into = append(*into, c); len(*into) > ClaimsMax {
			return ErrMalformed
		}
	}
	return r.delim(']')
}

// claim reads one claim. Names outside their closed sets are malformed; whether
// the claim grants is not decided here.
func (r reader) claim(c *consent.Claim) error {
	var source, platform, answer string
	err := r.object(func(key string) error {
		switch key {
		case "source":
			return r.text(&source, VariantBytesMax, isWord)
		case "cmp":
			return r.text(&platform, VariantBytesMax, isWord)
		case "raw":
			return r.text(&c.Raw, consent.RawSignalBytesMax, isRaw)
		case "answer":
			return r.text(&answer, VariantBytesMax, isWord)
		case "made":
			return r.flag(&c.Choice.Made)
		case "implied":
			return r.flag(&c.Choice.Implied)
		case "text_version":
			return r.text(&c.TextVersion, consent.TextVersionBytesMax, func(b byte) bool { return isWord(b) || b == '.' })
		}
		return ErrMalformed
	})
	if err != nil {
		return err
	}
	sources := map[string]consent.Source{
		"banner": consent.SourceBanner, "api": consent.SourceAPI, "cmp": consent.SourceCMP, "tcf": consent.SourceTCF, "consent_mode": consent.SourceConsentMode,
	}
	answers := map[string]consent.Answer{"": consent.AnswerNone, "granted": consent.AnswerGranted, "refused": consent.AnswerRefused}
	var knownSource, knownAnswer bool
	c.Source, knownSource = sources[source]
	c.Choice.Answer, knownAnswer = answers[answer]
	c.CMP = consent.CMP(platform)
	if !knownSource || !knownAnswer || (c.Source == consent.SourceCMP) != (platform != "") || platform != "" && !c.CMP.Known() {
		return ErrMalformed
	}
	return nil
}

func isWord(b byte) bool {
	return b|0x20 >= 'a' && b|0x20 <= 'z' || b >= '0' && b <= '9' || b == '-' || b == '_'
}

// isRaw is any character a raw signal of some source has.
func isRaw(b byte) bool { return isWord(b) || b == '.' || b == ',' || b == ';' || b == '=' || b == ' ' }
