package source

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed data/referrers.tsv
var referrersTSV string

//go:embed data/additions.tsv
var additionsTSV string

// medium is what a known source is.
type medium uint8

const (
	mediumUnknown medium = iota
	mediumReferral
	mediumSearch
	mediumSocial
	mediumVideo
	mediumShopping
	mediumEmail
	mediumAI
	mediumPaid
)

func parseMedium(s string) (medium, bool) {
	switch s {
	case "search":
		return mediumSearch, true
	case "social":
		return mediumSocial, true
	case "video":
		return mediumVideo, true
	case "shopping":
		return mediumShopping, true
	case "email":
		return mediumEmail, true
	case "ai":
		return mediumAI, true
	case "paid":
		return mediumPaid, true
	case "referral", "unknown":
		return mediumReferral, true
	}
	return mediumUnknown, false
}

// known is one source.
type known struct {
	medium medium
	name   string
}

// sources is what is known, by host or Android application, and by what a campaign
// calls its source.
type sources struct {
	hosts, names map[string]known
}

func readAll() (sources, error) {
	s := sources{hosts: make(map[string]known), names: make(map[string]known)}
	if err := s.read(referrersTSV); err != nil {
		return sources{}, err
	}
	if err := s.read(additionsTSV); err != nil {
		return sources{}, err
	}
	// The names of hosts are names for campaigns as well, where no line says what
	// they are. One that has several media is what is looked for first ("google" is
	// a search engine, though it has help pages and a network of advertisements).
	derived := make(map[string]known)
	for _, k := range s.hosts {
		if before, ok := derived[k.name]; !ok || k.medium.comesBefore(before.medium) {
			derived[k.name] = k
		}
	}
	for name, k := range derived {
		if _, ok := s.names[name]; !ok {
			s.names[name] = k
		}
	}
	return s, nil
}

// comesBefore: media are numbered in the order in which a name is taken for them,
// but for the first two, which say least.
func (m medium) comesBefore(other medium) bool {
	if other <= mediumReferral {
		return m > other
	}
	return mediumReferral < m && m < other
}

// read reads lines of host or name, medium and name. Lines that are read later win.
func (s *sources) read(tsv string) error {
	for line := range strings.Lines(tsv) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != 3 || fields[0] == "" || fields[2] == "" {
			return fmt.Errorf("source: a line of the lists is not a host, a medium and a name: %q", line)
		}
		m, ok := parseMedium(fields[1])
		if !ok {
			return fmt.Errorf("source: unknown medium %q", fields[1])
		}
		into := s.names
		if strings.Contains(fields[0], ".") {
			into = s.hosts
		}
		into[withoutWWW(fields[0])] = known{medium: m, name: fields[2]}
	}
	return nil
}

// ofCampaign finds what a campaign calls its source: a host or a name.
func (s *sources) ofCampaign(source string) known {
	if k, ok := s.hosts[withoutWWW(source)]; ok {
		return k
	}
	return s.names[source]
}

// withoutWWW is a host without the label that says nothing.
func withoutWWW(host string) string { return strings.TrimPrefix(host, "www.") }
