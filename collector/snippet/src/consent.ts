// Consent: what the visitor chooses becomes a call to POST /v1/consent, and what
// the collector answers, a token or none, what events are sent with. The default
// is denied.

import { add, type Done, send } from './delivery'
import { measure } from './engagement'
import { stamp } from './events'
import { choice, keep, Level, recall, token, useToken } from './record'
import { options, tell } from './tag'

export interface Terms {
  text_version?: string | undefined
  // Who says so, where it is not the site's own script: a consent platform and
  // its signal, or our banner.
  claim?: { source: string; cmp?: string; raw?: string }
}

// The text of the grant the visitor wants now, until the collector has answered.
let wish: string | undefined

const acknowledged = (): void => keep({ ...choice, withdraw: undefined })

// revoke tells the collector that a grant is taken back.
const revoke = (token: string | undefined): void => {
  if (token) send('consent', Level.choice, { token, withdraw: true }, acknowledged)
}

// resume takes up the choice of an earlier page: the grant, what could not be
// delivered under it, and a withdrawal the collector may not know of.
export const resume = (): void => {
  recall()
  const { events, withdraw } = choice
  revoke(withdraw)
  if (events) {
    keep({ ...choice, events: undefined })
    // Whatever else has been written there fails here, and is gone.
    add(...events.filter((w) => w.body.type))
  }
}

const say = (need: Level, answer: string, { text_version = options.textVersion, claim }: Terms, done: Done): void => {
  send('consent', need, {
    choice: stamp().id,
    token: choice.withdraw || choice.token || token,
    claim: { source: 'api', ...claim, answer, made: true, text_version },
  }, done)
}

// grant exchanges the visitor's yes for a token, unless one is held for the text.
export const grant = (terms: Terms = {}): void => {
  const { text_version = options.textVersion } = terms
  recall()
  if (choice.token && choice.text_version == text_version) return useToken(choice.token)
  // Without a text, or under way already.
  if (wish == text_version) return tell('consent', 'dropped', text_version)
  wish = text_version
  say(Level.company, 'granted', terms, (answer) => {
    // The visitor may have changed their mind since.
    if (wish != text_version) return revoke(answer.token)
    wish = undefined
    if (!answer.token) return
    keep({ ...answer, text_version })
    supply(answer.token)
  })
}

// supply puts a token in use that the site got by itself, which lives as long as
// the document, or none. It takes the place of a grant that is under way.
export const supply = (given?: unknown): void => {
  useToken((wish = undefined))
  useToken(given ? given + '' : undefined)
  measure()
}

// takeBack ends the grant that is held. Where our banner asks, the text that is
// refused or taken back is remembered, so that the next page does not ask again.
const takeBack = (): void => {
  recall()
  const withdraw = choice.token || token || choice.withdraw
  const text_version = options.banner != null ? options.textVersion : undefined
  if (withdraw || text_version) keep({ withdraw, optout: choice.optout, text_version })
  supply()
}

// deny takes back what was granted, and says no.
export const deny = (terms: Terms = {}): void => {
  takeBack()
  say(Level.choice, 'refused', terms, acknowledged)
}

// withdraw takes back what was granted.
export const withdraw = (): void => {
  takeBack()
  revoke(choice.withdraw)
}

// object is the visitor's own opt-out, or the end of it.
export const object = (optout?: boolean): void => {
  // What was asked for while they objected was not sent, and may be asked for again.
  wish = undefined
  if (optout) withdraw()
  else recall()
  keep({ ...choice, optout })
}
