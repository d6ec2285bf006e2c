package source

import (
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Query is what a page view says about where its visitor came from. Hosts are in
// lower case.
type Query struct {
	// Host is the page's; Own are the other hosts of its site.
	Host string
	Own  []string
	// Referrer is the referrer's host, or the package name of an Android application;
	// empty when there is none.
	Referrer string
	// Campaign parameters, as in the page's address.
	CampaignSource, CampaignMedium, CampaignName string
}

// Answer is where the visitor came from.
type Answer struct {
	Channel metivav1.Channel
	// Source is the campaign's source in lower case, else the referrer's name, else its
	// host without "www."; empty for DIRECT and INTERNAL.
	Source string
	// Spam: the referrer is on the operator's list.
	Spam bool
}

// Tables is the lists. It is immutable and safe for concurrent use.
type Tables struct {
	sources sources
	spam    map[string]struct{}
}

// NewTables reads the lists. spam is the operator's hosts (ReadSpam), or nil. An
// error is a fault of the lists.
func NewTables(spam []string) (*Tables, error) {
	all, err := readAll()
	if err != nil {
		return nil, err
	}
	t := &Tables{sources: all, spam: make(map[string]struct{}, len(spam))}
	for _, host := range spam {
		t.spam[host] = struct{}{}
	}
	return t, nil
}

// Resolve says where the visitor came from. It allocates for a campaign's source
// that is not in lower case, and for a referrer that shares the end of its host with
// the page's.
func (t *Tables) Resolve(q Query) Answer {
	c := campaign{
		source: strings.ToLower(strings.TrimSpace(q.CampaignSource)),
		medium: strings.TrimSpace(q.CampaignMedium),
		name:   strings.TrimSpace(q.CampaignName),
	}
	referrer := withoutWWW(q.Referrer)
	spam := referrer != "" && t.isSpam(referrer)
	external := referrer != "" && !isOwn(&q)
	if c.source == "" && c.medium == "" && c.name == "" {
		switch {
		case referrer == "":
			return Answer{Channel: metivav1.Channel_CHANNEL_DIRECT}
		case !external:
			return Answer{Channel: metivav1.Channel_CHANNEL_INTERNAL}
		}
		from := t.referrer(referrer)
		return Answer{Channel: channelOfReferrer(from.medium), Source: from.name, Spam: spam}
	}
	if c.isDirect() {
		return Answer{Channel: metivav1.Channel_CHANNEL_DIRECT}
	}
	from := t.sources.ofCampaign(c.source)
	name := c.source
	if name == "" && external {
		from = t.referrer(referrer)
		name = from.name
	}
	return Answer{Channel: c.channel(from.medium), Source: name, Spam: spam && external}
}

// isOwn reports whether the referrer is a page of the same site.
func isOwn(q *Query) bool {
	referrer, host := withoutWWW(q.Referrer), withoutWWW(q.Host)
	if referrer == host {
		return true
	}
	for _, own := range q.Own {
		if referrer == withoutWWW(own) {
			return true
		}
	}
	shared := sharedLabels(referrer, host)
	if !strings.Contains(shared, ".") {
		return false // no registrable domain is one label
	}
	suffix, icann := publicsuffix.PublicSuffix(host)
	if !icann && !strings.Contains(suffix, ".") {
		return false // no domain of the list, such as an address
	}
	return len(suffix) < len(shared)
}

// sharedLabels is the labels that two hosts end on in common.
func sharedLabels(a, b string) string {
	from := len(b)
	for i := 1; i <= len(a) && i <= len(b) && a[len(a)-i] == b[len(b)-i]; i++ {
		if endsLabel(a, i) && endsLabel(b, i) {
			from = len(b) - i
		}
	}
	return b[from:]
}

// endsLabel reports whether the last n bytes of a host are whole labels.
func endsLabel(host string, n int) bool {
	return n == len(host) || host[len(host)-n-1] == '.'
}

// referrer finds a host, or else the nearest host above it. Of a search engine's
// host only what is known to be a search page: docs.google.com is none. A host that
// is not known is its own name.
func (t *Tables) referrer(host string) known {
	strict := true
	for at := host; ; {
		if k, ok := t.sources.hosts[at]; ok && (strict || k.medium != mediumSearch) {
			return k
		}
		label, above, ok := strings.Cut(at, ".")
		if !ok || !strings.Contains(above, ".") {
			break
		}
		strict = strict && isSearchLabel(label)
		at = above
	}
	if strings.HasPrefix(host, "webmail.") {
		return known{medium: mediumEmail, name: host}
	}
	return known{medium: mediumReferral, name: host}
}

// isSearchLabel reports whether a label in front of a search engine's host is a
// language, a country or a way to show the same page.
func isSearchLabel(label string) bool {
	switch label {
	case "www", "mobile", "search", "lite", "html", "safe", "start", "images":
		return true
	}
	return len(label) <= 2
}

func (t *Tables) isSpam(host string) bool {
	if len(t.spam) == 0 {
		return false
	}
	for {
		if _, ok := t.spam[host]; ok {
			return true
		}
		_, above, ok := strings.Cut(host, ".")
		if !ok {
			return false
		}
		host = above
	}
}
