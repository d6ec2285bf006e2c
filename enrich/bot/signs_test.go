package bot_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/enrich/bot"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const proofpoint = 22843

func TestSigns(t *testing.T) {
	t.Parallel()
	c := classifier(t)
	const (
		none    = metivav1.BotClass_BOT_CLASS_NONE
		scanner = metivav1.BotClass_BOT_CLASS_LINK_SCANNER
		hosting = metivav1.Verdict_VERDICT_HOSTING
		company = metivav1.Verdict_VERDICT_COMPANY
	)
	for name, tc := range map[string]struct {
		signs           bot.Signs
		sender, network metivav1.BotClass
	}{
		"nothing":                           {bot.Signs{}, none, none},
		"automated":                         {bot.Signs{Automated: true}, metivav1.BotClass_BOT_CLASS_HEADLESS, none},
		"automated, whoever consented":      {bot.Signs{Automated: true, Consented: true}, metivav1.BotClass_BOT_CLASS_HEADLESS, none},
		"referrer spam":                     {bot.Signs{ReferrerSpam: true}, metivav1.BotClass_BOT_CLASS_REFERRER_SPAM, none},
		"company":                           {bot.Signs{Verdict: company, ASN: 15625}, none, none},
		"company, by mail":                  {bot.Signs{Verdict: company, ASN: 15625, ByMail: true}, none, none},
		"mail gateway, by mail":             {bot.Signs{Verdict: metivav1.Verdict_VERDICT_UNCLASSIFIED, ASN: proofpoint, ByMail: true}, none, scanner},
		"mail gateway without the campaign": {bot.Signs{Verdict: company, ASN: proofpoint}, none, scanner},
		"hosting":                           {bot.Signs{Verdict: hosting, ASN: 16509}, none, metivav1.BotClass_BOT_CLASS_HOSTING},
		"hosting, by mail":                  {bot.Signs{Verdict: hosting, ASN: 8075, ByMail: true}, none, scanner},
		"hosting, a person":                 {bot.Signs{Verdict: hosting, ASN: 16509, Consented: true}, none, none},
		"mail gateway's own staff":          {bot.Signs{Verdict: company, ASN: proofpoint, Consented: true}, none, none},
		"access, by mail":                   {bot.Signs{Verdict: metivav1.Verdict_VERDICT_ISP, ASN: 1136, ByMail: true}, none, none},
		"anonymizer":                        {bot.Signs{Verdict: metivav1.Verdict_VERDICT_ANONYMIZER, ASN: 22616}, none, none},
	} {
		if got := tc.signs.OfSender(); got != tc.sender {
			t.Errorf("%s: sender %s, want %s", name, got, tc.sender)
		}
		if got := c.OfNetwork(tc.signs); got != tc.network {
			t.Errorf("%s: network %s, want %s", name, got, tc.network)
		}
	}
}

// TestMailScannersAgree compares the list with the installed data: a number that
// has changed hands must not make anybody a machine.
func TestMailScannersAgree(t *testing.T) {
	t.Parallel()
	listed := make(map[string]string)
	for line := range strings.Lines(bot.MailScannersTSV()) {
		if fields := strings.Split(strings.TrimSpace(line), "\t"); len(fields) == 3 && !strings.HasPrefix(line, "#") {
			listed[fields[0]] = fields[1]
		}
	}
	if len(listed) < 20 || len(listed) != len(classifier(t).MailScanners()) {
		t.Fatalf("%d lines, %d networks", len(listed), len(classifier(t).MailScanners()))
	}
	folder, _ := geotest.PackageDirs(t)
	content, err := os.ReadFile(filepath.Join(folder, "asn-ipv4.csv"))
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for line := range strings.Lines(string(content)) {
		fields := strings.SplitN(strings.TrimSpace(line), ",", 4)
		if want, ok := listed[fields[2]]; ok {
			seen[fields[2]] = true
			if got := strings.Trim(fields[3], `"`); got != want {
				t.Errorf("AS%s is %q in the list and %q in the data", fields[2], want, got)
			}
		}
	}
	if len(seen) != len(listed) {
		t.Errorf("%d of %d networks are in the data", len(seen), len(listed))
	}
}
