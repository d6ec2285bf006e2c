package registry

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/metiva-io/metiva/schemas"
)

// CanonicalOrigin is the form a browser sends in its Origin header (RFC 6454
// §6.1): scheme://host[:port], lower case, international names in ASCII, no
// default port. It refuses everything that is not an origin: other schemes,
// user information, paths, wildcards, "null".
func CanonicalOrigin(text string) (string, error) {
	text = strings.TrimSpace(text)
	if len(text) > OriginBytesMax || !utf8.ValidString(text) {
		return "", fmt.Errorf("%w: an origin is at most %d bytes of UTF-8", ErrInvalid, OriginBytesMax)
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", fmt.Errorf("%w: the origin cannot be read as a URL", ErrInvalid)
	}
	scheme := strings.ToLower(u.Scheme)
	if scheme != "https" && scheme != "http" {
		return "", fmt.Errorf("%w: an origin starts with https:// or http://", ErrInvalid)
	}
	if u.Opaque != "" || u.User != nil || (u.Path != "" && u.Path != "/") ||
		u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#") {
		return "", fmt.Errorf("%w: an origin is only scheme, host and port", ErrInvalid)
	}
	host, err := canonicalHost(u.Hostname(), strings.HasPrefix(u.Host, "["))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	port, err := canonicalPort(u, scheme)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return scheme + "://" + host + port, nil
}

func canonicalHost(host string, bracketed bool) (string, error) {
	if bracketed {
		addr, err := netip.ParseAddr(host)
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", errors.New("the host is no IPv6 address")
		}
		// Browsers write an IPv4-mapped address in hexadecimal; nobody serves a
		// website on one.
		if addr.Is4In6() {
			return "", errors.New("the host is an IPv4-mapped address")
		}
		return "[" + addr.String() + "]", nil
	}
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil || ascii == "" || len(ascii) > schemas.HostBytesMax {
		return "", errors.New("the host is no domain name")
	}
	ascii = strings.ToLower(ascii)
	// Some input maps to a name that is itself no valid one.
	if again, err := idna.Lookup.ToASCII(ascii); err != nil || again != ascii {
		return "", errors.New("the host is no domain name")
	}
	for _, label := range strings.Split(ascii, ".") {
		if !validLabel(label) {
			return "", errors.New("the host is no domain name")
		}
	}
	// A name that ends in a number is an IPv4 address to a browser (WHATWG URL).
	last := ascii[strings.LastIndexByte(ascii, '.')+1:]
	if last[0] >= '0' && last[0] <= '9' {
		if addr, err := netip.ParseAddr(ascii); err != nil || !addr.Is4() {
			return "", errors.New("the host is no IPv4 address")
		}
	}
	return ascii, nil
}

func validLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for i := range len(label) {
		c := label[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func canonicalPort(u *url.URL, scheme string) (string, error) {
	text := u.Port()
	if text == "" {
		if strings.HasSuffix(u.Host, ":") {
			return "", errors.New("the port is empty")
		}
		return "", nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return "", errors.New("the port is not between 1 and 65535")
	}
	if (scheme == "https" && port == 443) || (scheme == "http" && port == 80) {
		return "", nil
	}
	return ":" + strconv.FormatUint(port, 10), nil
}

// canonicalOrigins is each origin in canonical form, once, sorted.
func canonicalOrigins(origins []string) ([]string, error) {
	if len(origins) == 0 {
		return nil, errors.New("a site needs at least one allowed origin")
	}
	if len(origins) > OriginsPerSiteMax {
		return nil, fmt.Errorf("a site has at most %d allowed origins", OriginsPerSiteMax)
	}
	var faults []error
	out := make([]string, 0, len(origins))
	for i, o := range origins {
		c, err := CanonicalOrigin(o)
		if err != nil {
			faults = append(faults, fmt.Errorf("origin %d: %w", i+1, err))
			continue
		}
		out = append(out, c)
	}
	slices.Sort(out)
	return slices.Compact(out), errors.Join(faults...)
}
