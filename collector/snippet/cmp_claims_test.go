package snippet_test

import (
	"testing"
)

// coreDouble has the core's commands, and writes down what they are called with.
const coreDouble = ` {
	const note = (name) => (...given) => { calls.push([name, ...given.map((g) => JSON.stringify(g))].join(' ')) }
	const commands = {consent: (action, value) => commands[action](value), grant: note('grant'), deny: note('deny'), withdraw: note('withdraw'), token: note('token')}
	window.visitor = Object.assign((name, ...given) => commands[name](...given), {ready: commands})
}`

// TestClaims: what several sources say becomes one wish of the visitor.
func TestClaims(t *testing.T) {
	t.Parallel()
	const (
		granted     = `grant {"claim":{"source":"cmp","cmp":"cookiebot","raw":"necessary=1,preferences=1,statistics=1,marketing=1,method=explicit"}}`
		denied      = `deny {"claim":{"source":"cmp","cmp":"cookiebot","raw":"necessary=1,preferences=0,statistics=0,marketing=0,method=explicit"}}`
		tcfGranted  = `grant {"claim":{"source":"tcf","raw":"CQacceptAAAAA.YAAA"},"text_version":"tcf"}`
		tcfDenied   = `deny {"claim":{"source":"tcf","raw":"CQrefuseAAAAA.YAAA"},"text_version":"tcf"}`
		withdrawn   = `withdraw`
		unused      = `token`
		accept      = `visit.cookiebot.accept()`
		refuse      = `visit.cookiebot.refuse()`
		mine        = `visitor('consent', 'cmp', {source: 'klaro', analytics: `
		mineGranted = `grant {"claim":{"source":"cmp","cmp":"klaro","raw":"x=1"},"text_version":"own-2"}`
		mineDenied  = `deny {"claim":{"source":"cmp","cmp":"klaro","raw":"x=0"},"text_version":"own-2"}`
	)
	page := func(tag, stored string, doubles ...string) platformPage {
		return platformPage{tag: tag, before: append([]string{coreDouble, options(stored)}, doubles...)}
	}
	playAll(t, map[string]story{
		"one platform": {page("", "", "cookiebot"), []act{
			{"", []string{unused}}, {accept, []string{granted}}, {accept, nil}, {refuse, []string{denied}}, {refuse, nil}, {accept, []string{granted}},
		}},
		// The core asks for no token when it holds one; on a page where the visitor
		// has chosen nothing a refusal is not recorded again.
		"an earlier yes": {page("", `cookiebot: {stored: 'accept'}`, "cookiebot"), []act{{"", []string{granted}}, {refuse, []string{denied}}}},
		"an earlier no":  {page("", `cookiebot: {stored: 'refuse'}`, "cookiebot"), []act{{"", []string{withdrawn}}, {accept, []string{granted}}}},
		"a refused string": {page("", "", "tcf"), []act{
			{"", []string{unused}},
			{`visit.tcf.refuse()`, []string{withdrawn, tcfDenied}},
			{`visit.tcf.accept()`, []string{tcfGranted}},
			{`visit.tcf.refuse()`, []string{withdrawn}},
		}},
		"both must agree": {page("", "", "cookiebot", "tcf"), []act{
			{"", []string{unused, unused}},
			{`visit.tcf.refuse()`, []string{withdrawn, tcfDenied}},
			{accept, nil},
			{`visit.tcf.accept()`, []string{granted}},
			{refuse, []string{denied}},
			{`visit.tcf.refuse()`, nil},
			{accept, nil},
		}},
		"a string refuses under a grant": {page("", `cookiebot: {stored: 'accept'}`, "cookiebot", "tcf"), []act{
			{"", []string{granted}}, {`visit.tcf.refuse()`, []string{withdrawn}},
		}},
		"they contradict from the start": {page("", `cookiebot: {stored: 'accept'}, tcf: {stored: 'refuse'}`, "cookiebot", "tcf"), []act{
			{"", []string{withdrawn}}, {`visit.tcf.accept()`, []string{granted}},
		}},
		"the registered one speaks": {page(`data-cmp="tcf"`, `cookiebot: {stored: 'accept'}, tcf: {stored: 'accept'}`, "cookiebot", "tcf"), []act{
			{"", []string{tcfGranted}}, {refuse, []string{denied}}, {accept, []string{tcfGranted}},
		}},
		// The visitor had agreed on an earlier page, and the platform has no choice now.
		"a choice that is gone": {page(`data-cmp="cookiebot"`, "", "cookiebot"), []act{{"", []string{unused}}, {accept, []string{granted}}}},
		"another's is gone":     {page(`data-cmp="tcf"`, `tcf: {stored: 'accept'}`, "cookiebot", "tcf"), []act{{"", []string{tcfGranted}}}},
		// Other vendors have a data-site too, and may stand first.
		"another vendor's tag": {page(`data-cmp="tcf"`, `cookiebot: {stored: 'accept'}, tcf: {stored: 'accept'}`,
			` document.head.prepend(document.createElement('script')); document.head.firstChild.type = 'text/plain'; document.head.firstChild.dataset.site = 'ABC'`, "cookiebot", "tcf"), []act{
			{"", []string{tcfGranted}},
		}},
		"auto is no name": {page(`data-cmp="auto"`, `cookiebot: {stored: 'accept'}, tcf: {stored: 'accept'}`, "cookiebot", "tcf"), []act{{"", []string{granted}}}},
		"consent mode lowers": {page("", `cookiebot: {stored: 'accept'}`, "cookiebot", "consentmode"), []act{
			{"", []string{granted}},
			{`visit.consentmode.refuse()`, []string{unused}},
			{`visit.consentmode.accept()`, []string{granted}},
			{`visit.consentmode.refuse()`, []string{unused}},
			// Taken back is more than out of use.
			{refuse, []string{denied}},
			{`visit.consentmode.accept()`, nil},
		}},
		"consent mode never raises": {page("", `consentmode: {stored: 'accept'}`, "consentmode"), []act{
			{"", nil}, {`visit.consentmode.refuse()`, []string{unused}}, {`visit.consentmode.accept()`, nil},
		}},
		"a platform the site adapts itself": {page(`data-cmp="klaro"`, "", "cookieyes"), []act{
			{"", nil},
			{mine + `null})`, []string{unused}},
			{mine + `true, raw: 'x=1', text_version: 'own-2'})`, []string{mineGranted}},
			{mine + `true, raw: 'x=2', text_version: 'own-2'})`, nil},
			{`visit.cookieyes.refuse()`, []string{`deny {"claim":{"source":"cmp","cmp":"cookieyes","raw":"necessary=1,functional=0,analytics=0,performance=0,advertisement=0,law=gdpr"}}`}},
			{mine + `false, raw: 'x=0', text_version: 'own-2'})`, nil},
			{`visit.cookieyes.accept()`, nil},
			{mine + `true, raw: 'x=1', text_version: 'own-2'})`, []string{mineGranted}},
			{mine + `false, raw: 'x=0', text_version: 'own-2'})`, []string{mineDenied}},
		}},
	})
}
