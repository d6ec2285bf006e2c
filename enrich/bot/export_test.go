package bot

import (
	"bytes"
	"regexp"
	"slices"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Naive classifies by comparing an agent with every pattern and literal in turn:
// what Classify must agree with.
type Naive struct {
	expressions []*regexp.Regexp
	ranks       []int
}

// NewNaive compiles every pattern as it stands.
func NewNaive() (*Naive, error) {
	patterns, err := readPatterns(crawlersTSV)
	if err != nil {
		return nil, err
	}
	n := new(Naive)
	for _, p := range patterns {
		expression, err := regexp.Compile(p.expression)
		if err != nil {
			return nil, err
		}
		n.expressions, n.ranks = append(n.expressions, expression), append(n.ranks, p.rank)
	}
	return n, nil
}

// Exceptions is the patterns that are left out.
func Exceptions() map[string]string { return exceptions() }

// CrawlersTSV is the vendored list as it stands.
func CrawlersTSV() string { return crawlersTSV }

// Patterns is the expressions of the vendored list.
func Patterns() []string {
	patterns, err := readPatterns(crawlersTSV)
	if err != nil {
		panic(err)
	}
	var out []string
	for _, p := range patterns {
		out = append(out, p.expression)
	}
	return out
}

// MailScanners is the numbers of mailscanners.tsv.
func (c *Classifier) MailScanners() map[uint32]bool { return c.mail }

// MailScannersTSV is the list as it stands.
func MailScannersTSV() string { return mailScannersTSV }

// Classify is Classifier.Classify, the long way.
func (n *Naive) Classify(agent []byte) metivav1.BotClass {
	agent = bytes.TrimSpace(agent)
	agent = agent[:min(len(agent), agentBytesMax)]
	if len(agent) == 0 {
		return metivav1.BotClass_BOT_CLASS_NO_AGENT
	}
	lower := bytes.Clone(agent)
	for i, b := range lower {
		if 'A' <= b && b <= 'Z' {
			lower[i] = b + 'a' - 'A'
		}
	}
	order := ranks()
	best := len(order)
	for i, expression := range n.expressions {
		if expression.Match(agent) {
			best = min(best, n.ranks[i])
		}
	}
	for _, l := range lists() {
		for _, literal := range l.literals {
			if bytes.Contains(lower, []byte(literal)) {
				best = min(best, slices.Index(order, l.class))
			}
		}
	}
	switch {
	case best < len(order):
		return order[best]
	case namesBot(lower):
		return metivav1.BotClass_BOT_CLASS_OTHER
	case !isBrowserLike(lower):
		return metivav1.BotClass_BOT_CLASS_NO_AGENT
	case isIntroduction(lower):
		return metivav1.BotClass_BOT_CLASS_OTHER
	}
	return metivav1.BotClass_BOT_CLASS_NONE
}
