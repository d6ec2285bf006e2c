package enrich

import (
	"github.com/metiva-io/metiva/enrich/bot"
	"github.com/metiva-io/metiva/enrich/source"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Sources of the verdict on a bot, as they stand in Resolution.source.
const (
	sourceAgent      = "user_agent"
	sourceAutomation = "automation"
	sourceReferrer   = "referrer_spam"
	sourceScanner    = "link_scanner"
)

// confidenceScanner is how sure it is that a browser in a mail gateway's network, or
// behind a mailing's link in a hosting network, is no person.
const confidenceScanner = 0.9

// origin decides where a page view came from, and reports whether its referrer is
// spam. Other types belong to a page view that has said it.
func (s *steps) origin(sc *scratch, out *metivav1.EnrichedEvent) (spam bool) {
	if out.GetType() != metivav1.EventType_EVENT_TYPE_PAGE_VIEW {
		return false
	}
	if sc.hosts == nil {
		sc.hosts = newSiteCache(&s.siteHosts.changes, s.siteHosts.of)
	}
	answer := s.sources.Load().Resolve(source.Query{
		Host: out.GetHost(), Own: sc.hosts.of(out.GetCompanyId(), out.GetSiteId()), Referrer: out.GetReferrerHost(),
		CampaignSource: out.GetCampaign().GetSource(), CampaignMedium: out.GetCampaign().GetMedium(), CampaignName: out.GetCampaign().GetName(),
	})
	out.Channel, out.TrafficSource = answer.Channel, answer.Source
	return answer.Spam
}

// judgeSender says what the agent and the signs of the event itself tell. An
// automated visitor is never resolved to a company.
func (s *steps) judgeSender(out *metivav1.EnrichedEvent, agent metivav1.BotClass, signs bot.Signs) {
	r := out.GetResolution()
	r.Verdict, r.Confidence, r.Source = metivav1.Verdict_VERDICT_BOT, 1, sourceAgent
	if out.Bot = agent; out.GetBot() != metivav1.BotClass_BOT_CLASS_NONE {
		return
	}
	switch out.Bot = signs.OfSender(); out.GetBot() {
	case metivav1.BotClass_BOT_CLASS_NONE:
		r.Verdict, r.Confidence, r.Source = 0, 0, ""
	case metivav1.BotClass_BOT_CLASS_REFERRER_SPAM:
		r.Source = sourceReferrer
	default:
		r.Source = sourceAutomation
	}
}

// judgeNetwork says what the network tells of a browser. The network of a link
// scanner is not the company that visits; a hosting network's verdict stays, since it
// is the reason.
func (s *steps) judgeNetwork(out *metivav1.EnrichedEvent) {
	r := out.GetResolution()
	out.Bot = s.bots.OfNetwork(bot.Signs{
		ByMail: out.GetChannel() == metivav1.Channel_CHANNEL_EMAIL, Consented: isConsented(out.GetConsent()),
		Verdict: r.GetVerdict(), ASN: r.GetAsn(),
	})
	if out.GetBot() == metivav1.BotClass_BOT_CLASS_LINK_SCANNER {
		r.Verdict, r.Confidence, r.Source = metivav1.Verdict_VERDICT_BOT, confidenceScanner, sourceScanner
		r.AccountId, r.Name, r.Domain = "", "", ""
	}
}

// isGranted reports whether a grant for analytics covers the event. One of a form under a
// receipt has none: its box says nothing of measuring, and its row is company level.
func isGranted(out *metivav1.EnrichedEvent) bool {
	return isConsented(out.GetConsent()) && len(out.GetVisitorId()) > 0
}

// isConsented reports whether a person has agreed to something that the event rests on:
// to analytics, or beside a form.
func isConsented(state metivav1.ConsentState) bool {
	return state == metivav1.ConsentState_CONSENT_STATE_ANALYTICS || state == metivav1.ConsentState_CONSENT_STATE_IDENTIFIED
}
