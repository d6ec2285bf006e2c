package registry

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Limits of a site's texts and forms. The database checks the same ones.
const (
	// ConsentTextBytesMax is a long privacy text; a banner's has some hundreds.
	ConsentTextBytesMax = 32 << 10
	// SiteRecordBytesMax is what one record of control.sites may hold: the limits
	// of forms, fields and addresses together allow more than every collector
	// should keep in memory for one site.
	SiteRecordBytesMax = 64 << 10
	// TextVersionBytesMax is what a consent token carries.
	TextVersionBytesMax = 64
	languageBytesMax    = 35 // RFC 5646, section 4.4.1
	// tcfVersionPrefix begins the versions package consent makes of TC strings.
	tcfVersionPrefix = "tcf-"
)

// ConsentText is the exact text visitors of a site agree to.
type ConsentText struct {
	// Version is letters, digits, dots and dashes; it never stands for another
	// text, of whatever language.
	Version string
	// Language is a BCP 47 tag, such as "nl" or "en-GB".
	Language string
	// LinksVisits: the text says that the person's own visits to the site are kept
	// together with what they fill in.
	LinksVisits bool
	// Body is the text as shown, in UTF-8. Lists of sites leave it out.
	Body string
	// SHA256 is that of Body.
	SHA256    [sha256.Size]byte
	CreatedAt time.Time
}

func (c ConsentText) check() error {
	switch {
	case !isToken(c.Version, TextVersionBytesMax, ".-"):
		return fmt.Errorf("%w: a version is at most %d letters, digits, dots and dashes", ErrInvalid, TextVersionBytesMax)
	case strings.HasPrefix(c.Version, tcfVersionPrefix):
		return fmt.Errorf("%w: versions that begin with %q are those of TC strings", ErrInvalid, tcfVersionPrefix)
	case !isLanguage(c.Language):
		return fmt.Errorf("%w: the language is no BCP 47 tag such as nl or en-GB", ErrInvalid)
	case strings.TrimSpace(c.Body) == "":
		return fmt.Errorf("%w: the text is empty", ErrInvalid)
	case len(c.Body) > ConsentTextBytesMax:
		return fmt.Errorf("%w: the text has %d bytes, at most %d are allowed", ErrInvalid, len(c.Body), ConsentTextBytesMax)
	case !utf8.ValidString(c.Body):
		return fmt.Errorf("%w: the text is not UTF-8", ErrInvalid)
	case strings.ContainsFunc(c.Body, isInvisible):
		return fmt.Errorf("%w: the text holds characters nobody sees, such as a byte order mark", ErrInvalid)
	}
	return nil
}

// isInvisible finds what makes two texts that look the same differ: control
// characters but line ends and tabs, and the byte order mark.
func isInvisible(r rune) bool {
	return r == '\ufeff' || unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t'
}

// FormPolicy is what may be captured of one form. Its JSON is what `metiva site
// form set` reads.
type FormPolicy struct {
	// FormID is the value of data-visitor-form.
	FormID string      `json:"form_id"`
	Fields []FormField `json:"fields"`
	// TextVersions are those of the site's texts that stand beside the form's own
	// unticked box.
	TextVersions []string `json:"text_versions"`
	// RedirectURLs are whole addresses on the site's allowed origins, where the
	// form may be sent back to when it was posted without script.
	RedirectURLs []string `json:"redirect_urls"`
}

// FormField is a field a capture may hold.
type FormField struct {
	Name string `json:"name"`
	// Kind is email, name, phone, company or text.
	Kind     string `json:"kind"`
	Required bool   `json:"required"`
}

// check lists every fault. Texts and origins are those of the site.
func (p FormPolicy) check(texts []ConsentText, origins []string) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !isToken(p.FormID, schemas.FormIDBytesMax, "._-") {
		fault("a form id is at most %d letters, digits, dots, dashes and underscores", schemas.FormIDBytesMax)
	}
	if n := len(p.Fields); n < 1 || n > schemas.FormFieldsMax {
		fault("a form has 1 to %d fields", schemas.FormFieldsMax)
	}
	seen := map[string]bool{}
	for i, f := range p.Fields {
		if err := f.check(); err != nil {
			fault("field %d: %w", i+1, err)
		}
		if seen[f.Name] {
			fault("field %d has the name of another one", i+1)
		}
		seen[f.Name] = true
	}
	if n := len(p.TextVersions); n < 1 || n > schemas.ConsentTextsMax {
		fault("a form needs the text beside its box: 1 to %d versions", schemas.ConsentTextsMax)
	}
	for i, version := range p.TextVersions {
		if !slices.ContainsFunc(texts, func(t ConsentText) bool { return t.Version == version }) {
			fault("text version %d is not among the site's texts: add the text first", i+1)
		}
		if slices.Contains(p.TextVersions[:i], version) {
			fault("text version %d is named twice", i+1)
		}
	}
	if len(p.RedirectURLs) > schemas.RedirectURLsMax {
		fault("a form has at most %d addresses to be sent back to", schemas.RedirectURLsMax)
	}
	for i, address := range p.RedirectURLs {
		if err := checkRedirect(address, origins); err != nil {
			fault("redirect address %d: %w", i+1, err)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

func (f FormField) check() error {
	if !isToken(f.Name, schemas.FormFieldNameBytesMax, "._-[]:") {
		return fmt.Errorf("a name is at most %d letters, digits and .-_:[]", schemas.FormFieldNameBytesMax)
	}
	if strings.HasPrefix(f.Name, schemas.FormPrefix) {
		return fmt.Errorf("its name begins with %q: those are the collector's own", schemas.FormPrefix)
	}
	if what := schemas.SensitiveField(f.Name); what != "" {
		return fmt.Errorf("its name is that of %s, which is never captured", what)
	}
	if fieldKind(f.Kind) == metivav1.FieldKind_FIELD_KIND_UNSPECIFIED {
		return errors.New("its kind is none of email, name, phone, company and text")
	}
	return nil
}

func fieldKind(label string) metivav1.FieldKind {
	for kind, known := range schemas.Labels(metivav1.FieldKind_FIELD_KIND_UNSPECIFIED) {
		if known == label && kind != metivav1.FieldKind_FIELD_KIND_UNSPECIFIED {
			return kind
		}
	}
	return metivav1.FieldKind_FIELD_KIND_UNSPECIFIED
}

// checkRedirect accepts a whole address on one of the origins. It is compared
// byte by byte at the edge, so it may hold nothing that is read in two ways.
func checkRedirect(address string, origins []string) error {
	if address == "" || len(address) > schemas.RedirectURLBytesMax {
		return fmt.Errorf("an address has 1 to %d bytes", schemas.RedirectURLBytesMax)
	}
	for i := range len(address) {
		if c := address[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`\"<>^`+"`{|}", c) >= 0 {
			return errors.New("it holds a character that has to be percent-encoded")
		}
	}
	u, err := url.Parse(address)
	if err != nil || u.Opaque != "" || u.Host == "" {
		return errors.New("it cannot be read as a whole address")
	}
	if u.User != nil {
		return errors.New("it holds user information")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return errors.New("it starts with neither https:// nor, on this machine, http://")
	}
	if !strings.HasPrefix(u.Path, "/") {
		return errors.New("it has no path: end the address of a front page with /")
	}
	read, ok := schemas.ReadWebAddress(address)
	if !ok {
		return errors.New("it holds a fragment, a dot segment, an encoded slash or control character, or a host that is no name")
	}
	if !slices.Contains(origins, read.Origin) {
		return errors.New("it is on none of the site's allowed origins")
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// isToken accepts 1 to bytesMax letters, digits and the others.
func isToken(text string, bytesMax int, others string) bool {
	for i := range len(text) {
		c := text[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && strings.IndexByte(others, c) < 0 {
			return false
		}
	}
	return text != "" && len(text) <= bytesMax
}

// isLanguage accepts the form of a BCP 47 tag: two or three letters, then
// subtags of up to eight letters or digits.
func isLanguage(tag string) bool {
	primary, rest, more := strings.Cut(tag, "-")
	if len(tag) > languageBytesMax || len(primary) < 2 || len(primary) > 3 || strings.IndexFunc(primary, func(r rune) bool { return r < 'a' || r > 'z' }) >= 0 {
		return false
	}
	for more {
		var subtag string
		subtag, rest, more = strings.Cut(rest, "-")
		if !isToken(subtag, 8, "") {
			return false
		}
	}
	return true
}

// checkProperties refuses names custom events may not carry: properties are not
// sealed, so nothing about a person has a place in them.
func checkProperties(names []string) error {
	var faults []error
	if len(names) > schemas.CustomPropertyNamesMax {
		faults = append(faults, fmt.Errorf("a site has at most %d properties", schemas.CustomPropertyNamesMax))
	}
	for i, name := range names {
		if !isToken(name, schemas.PropertyNameBytesMax, "._-") {
			faults = append(faults, fmt.Errorf("property %d: a name is at most %d letters, digits, dots, dashes and underscores", i+1, schemas.PropertyNameBytesMax))
		}
		if what := schemas.SensitiveField(name); what != "" {
			faults = append(faults, fmt.Errorf("property %d: its name is that of %s, which is never taken", i+1, what))
		} else if personal(name) {
			faults = append(faults, fmt.Errorf("property %d: its name is that of a person's detail; those come with a consented form only", i+1))
		}
	}
	return errors.Join(faults...)
}
