// Package bot tells automated visitors from people: by their user agent, by what
// the page's script says, and by the network and the campaign they come with.
//
// Those that name themselves bots, crawlers or spiders seldom get here: the
// collector drops them, unless its operator lets them pass (ADR 0022).
//
// Enters: the user agent of one event, opened in memory; the signs of the event
// (Signs). Leaves: a BotClass. Nothing of the agent is kept: the copy made for
// comparing is cleared.
//
// Two lists decide on an agent. data/crawlers.tsv has the patterns of the package
// crawler-user-agents (MIT), which are regular expressions and match as that
// package says, letter case included; lists.go has our own literals, in any case.
// Of several that match, the class with the lowest rank wins (lists.go). Outside
// both, an agent that names itself a bot, gives its address or calls itself
// "compatible" with a browser is OTHER, and one that no browser sends is NO_AGENT.
//
// Speed: no agent is compared with 1,500 expressions. Each pattern has a literal
// that must be in the agent, and of that literal three bytes that browsers seldom
// write. One pass over the agent looks each three bytes up in a bitmap; only a
// pattern whose bytes are there is compared, its literal first, its expression
// after that and at most once for an agent (index.go).
//
// Signs judges what no agent tells: an automated browser, referrer spam, the
// scanners of mail gateways (by their networks in data/mailscanners.tsv, or a
// hosting network behind a link of a mailing), and browsers in hosting networks.
// Whoever consented is a person to us, whatever network they use.
//
// Limits: only the first agentBytesMax bytes count. A machine that calls itself a
// browser on an access network and runs no script of ours that notices is counted
// as a person. People on a desktop in a cloud, or behind a VPN at a host, who gave
// no consent are counted as HOSTING: they are filtered rather than shown wrongly.
// Staff of the mail security companies are counted as link scanners.
package bot
