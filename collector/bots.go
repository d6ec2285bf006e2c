package collector

import (
	"github.com/metiva-io/metiva/collector/crawler"
	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// What becomes of visitors that name themselves machines: Config.Bots.
const (
	BotsRefuse = "refuse"
	BotsPass   = "pass"
)

// isBot reports whether the request is refused because its agent names itself a
// machine. A site that is off and a visitor who objects come first: nothing else
// of their requests is looked at. A site that only counts comes after: what it
// counts are people.
func (r *request) isBot(d consent.Decision) bool {
	if reason := d.Reason(); reason == metivav1.Reason_REASON_OFF || reason == metivav1.Reason_REASON_OBJECTED {
		return false
	}
	return r.c.cfg.Bots == BotsRefuse && crawler.NamesItself(r.userAgent)
}
