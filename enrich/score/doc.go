// Package score says how much a company's visits of a day are worth, why, and what
// of it is worth telling somebody. It is pure: no clock, no input and output.
//
// Enters: versions of visits (Visit) of one account on one site, in any order and
// any number of times, and the site's Rules. Leaves: an AccountDay for each day
// that changed, with the parts its score is the sum of, and Signals.
//
// What a day holds is the sum of its visits' newest versions, by visit id: a
// repeated or older version changes nothing, a removed visit takes back what it
// gave, and the order does not matter. A signal's id is made from what it is about
// and never from when it was found, and the state remembers which were given.
//
// What is dropped: visits without a sign of a human are counted and give no points
// and no signal (HasHumanSign); versions of visits on days that are closed (not
// among the account's newest OpenDays; OutcomeLate); visits beyond VisitsPerDayMax of one
// day (OutcomeFull), which the day says with capped.
//
// Limits: a state remembers HistoryDays days of an account, of which the newest
// OpenDays hold their visits one by one; of earlier days it keeps the first and the
// last. The formula and its constants are in formula.go; docs/operations/scores.md
// explains it to those who read scores.
package score
