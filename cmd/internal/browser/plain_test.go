package browser

import (
	"testing"
)

func TestPlainPage(t *testing.T) {
	s, b := visit(t)
	b.open("/?utm_source=nieuwsbrief&utm_medium=mail&utm_campaign=mei&email=jan@example.nl#token=geheim")
	b.sent(1)
	b.leave()
	rows := s.holds(t, "page_view / denied")
	r := rows[0]
	if r.Campaign != "nieuwsbrief/mail/mei" || r.Visitor != "" || r.Browser != "chrome" || r.Device != "desktop" || r.Bot != "none" || r.Company != company {
		t.Errorf("%+v", r)
	}
	s.consentsHold(t)
}
