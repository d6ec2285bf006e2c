// Package bot tells automated visitors from browsers by their user agent.
//
// Those that name themselves bots, crawlers or spiders seldom get here: the
// collector drops them, unless its operator lets them pass (ADR 0022).
//
// Enters: the user agent of one event, opened in memory. Leaves: a BotClass.
// Nothing of the agent is kept: the copy made for comparing is cleared.
//
// A closed list of literals decides. Outside it, an agent that names itself a
// bot, gives its address or calls itself "compatible" with a browser is OTHER,
// and one that no browser sends is NO_AGENT. Limits: only the first agentBytesMax bytes count; a bot that calls
// itself a browser is not seen here, its network may show it.
package bot
