// Package crawler tells which requests come from a machine that says so.
//
// Enters: a user agent, of which the caller decides how long it may be. Leaves:
// whether it names itself a bot, a crawler or a spider. Nothing is kept, copied or
// changed, and nothing is allocated: it is on the way of every event.
//
// One of the three words has to end a name, and the name has to stand where
// programs introduce themselves: as a product with its version ("bingbot/2.0"),
// after "compatible;" or beside an address to read more at ("+https://…"), or at
// the beginning of an agent that is no browser's ("AdsBot-Google (+http://…").
//
// Not a name, and so left to enrich, which knows more: the words in addresses
// ("+https://example.com/crawler"), in models of devices (CUBOT makes telephones,
// other robots have a screen), in names of apps that show pages (iRobot, a chatbot),
// and inside other words. Headless browsers, libraries, monitors and previews that
// use none of the words are not looked for; nor is one that hides.
//
// Limits: what an agent says is all that is known here. A person who gives the
// browser such a name is taken for a machine.
package crawler
