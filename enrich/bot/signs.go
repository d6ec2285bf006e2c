package bot

import (
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

//go:embed data/mailscanners.tsv
var mailScannersTSV string

var errTooManyExpressions = errors.New("bot: more expressions than can be told apart; raise triedMax")

// Signs is what an event says of its sender besides the agent.
type Signs struct {
	// Automated: the page's script found that a program drives the browser.
	Automated bool
	// ReferrerSpam: the referrer is on the operator's list.
	ReferrerSpam bool
	// ByMail: the page view came by a link of a mailing (channel EMAIL).
	ByMail bool
	// Consented: the visitor gave consent, which takes a person.
	Consented bool
	// Verdict and ASN are of the network; UNSPECIFIED and 0 when it is not known.
	Verdict metivav1.Verdict
	ASN     uint32
}

// OfSender judges what is known before the network is: Automated and
// ReferrerSpam.
func (s Signs) OfSender() metivav1.BotClass {
	switch {
	case s.Automated:
		return metivav1.BotClass_BOT_CLASS_HEADLESS
	case s.ReferrerSpam:
		return metivav1.BotClass_BOT_CLASS_REFERRER_SPAM
	}
	return metivav1.BotClass_BOT_CLASS_NONE
}

// OfNetwork judges an event whose agent is a browser's by its network.
func (c *Classifier) OfNetwork(s Signs) metivav1.BotClass {
	switch {
	case s.Consented:
		return metivav1.BotClass_BOT_CLASS_NONE
	case c.mail[s.ASN]:
		return metivav1.BotClass_BOT_CLASS_LINK_SCANNER
	case s.Verdict != metivav1.Verdict_VERDICT_HOSTING:
		return metivav1.BotClass_BOT_CLASS_NONE
	case s.ByMail:
		return metivav1.BotClass_BOT_CLASS_LINK_SCANNER
	}
	return metivav1.BotClass_BOT_CLASS_HOSTING
}

// readMailScanners reads the lines of mailscanners.tsv: number, organisation as
// announced, source of the line.
func readMailScanners(tsv string) (map[uint32]bool, error) {
	out := make(map[uint32]bool)
	for line := range strings.Lines(tsv) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != 3 {
			return nil, fmt.Errorf("bot: a line of the mail scanners has %d fields instead of 3", len(fields))
		}
		number, err := strconv.ParseUint(fields[0], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("bot: reading the mail scanners: %w", err)
		}
		out[uint32(number)] = true
	}
	return out, nil
}
