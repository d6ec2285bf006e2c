package schemas

import "strings"

// WebAddress is a whole web address that cannot be read in two ways: one a form may
// be sent back to.
type WebAddress struct {
	Origin string // scheme://host[:port], lower case, without a default port
	Rest   string // path and query, as they stand; the path is at least "/"
}

// ReadWebAddress reads scheme://host[:port][/path][?query] strictly (the grammar of
// RFC 3986 without what browsers repair or resolve, and without a fragment): the WHATWG URL parser reads
// what is accepted here as itself.
func ReadWebAddress[T string | []byte](raw T) (WebAddress, bool) {
	if len(raw) > RedirectURLBytesMax || !isPlainAddress(raw) {
		return WebAddress{}, false
	}
	scheme, rest, ok := strings.Cut(string(raw), "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "http" && scheme != "https" {
		return WebAddress{}, false
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	authority, rest := strings.ToLower(rest[:end]), rest[end:]
	host, port, hasPort := strings.Cut(authority, ":")
	if !isHost(host) || hasPort && !isPort(port) {
		return WebAddress{}, false
	}
	if hasPort && (scheme != "http" || port != "80") && (scheme != "https" || port != "443") {
		host += ":" + port
	}
	path, _, _ := strings.Cut(rest, "?")
	if hasDotSegment(path) {
		return WebAddress{}, false
	}
	if path == "" {
		rest = "/" + rest
	}
	return WebAddress{Origin: scheme + "://" + host, Rest: rest}, true
}

// isPlainAddress accepts the characters of a URL without a fragment and with
// whole percent-encodings, none of them of a control character, a slash or a
// backslash.
func isPlainAddress[T string | []byte](raw T) bool {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case isAlnum(c) || strings.IndexByte("-._~:/?@!$&'()*+,;=", c) >= 0:
		case c == '%' && i+2 < len(raw) && isHex(raw[i+1]) && isHex(raw[i+2]):
			if plain := unhex(raw[i+1])<<4 | unhex(raw[i+2]); plain < ' ' || plain == 0x7f || plain == '\\' || plain == '/' {
				return false
			}
			i += 2
		default:
			return false
		}
	}
	return len(raw) > 0
}

// isHost accepts a DNS name or an IPv4 address, without a dot at its end.
func isHost(host string) bool {
	if host == "" || len(host) > HostBytesMax {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			if !isAlnum(label[i]) && label[i] != '-' {
				return false
			}
		}
	}
	return true
}

// isPort accepts a decimal number without a zero before it.
func isPort(port string) bool {
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return false
		}
	}
	return port != "" && len(port) <= 5 && port[0] != '0'
}

// hasDotSegment finds "." and "..", also encoded: browsers resolve them.
func hasDotSegment(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		plain := strings.ReplaceAll(strings.ToLower(segment), "%2e", ".")
		if plain == "." || plain == ".." {
			return true
		}
	}
	return false
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

func isAlnum(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' }
