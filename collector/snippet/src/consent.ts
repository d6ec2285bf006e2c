// Consent: what the visitor chooses becomes a call to POST /v1/consent, and what
// the collector answers, a token or none, what events are sent with. The default
// is denied.

import { add, send } from './delivery'
import { measure } from './engagement'
import { uuidv7 } from './id'
import { choice, keep, Level, recall, token, useToken } from './record'
import { options } from './tag'

export interface Terms {
  text_version?: string | undefined
  // Who says so, where it is not the site's own script: a consent platform and
  // its signal, or our banner.
  claim?: { source: string; cmp?: string; raw?: string }
  // A refusal is remembered, so that nobody asks for it again.
  remember?: boolean
}

// The text of the grant the visitor wants now, until the collector has answered.
let wish: string | undefined

const acknowledged = (): void => keep({ ...choice, withdraw: undefined })

// revoke tells the collector that a grant is taken back.
function revoke(token: string | undefined): void {
  if (token) send('consent', Level.choice, { token, withdraw: true }, acknowledged)
}

// resume takes up the choice of an earlier page: the grant, what could not be
// delivered under it, and a withdrawal the collector may not know of.
export function resume(): void {
  recall()
  const { events, withdraw } = choice
  revoke(withdraw)
  if (events) {
    add(...events)
    keep({ ...choice, events: undefined })
  }
}

function say(need: Level, answer: string, { text_version = options.textVersion, claim }: Terms, done: Parameters<typeof send>[3]): void {
  const whole = { source: 'api', ...claim, answer, made: true, text_version }
  send('consent', need, { choice: uuidv7(Date.now()), token: choice.withdraw || choice.token || token, claim: whole }, done)
}

// grant exchanges the visitor's yes for a token, unless one is held for the text.
export function grant(terms: Terms = {}): void {
  const { text_version = options.textVersion } = terms
  recall()
  if (choice.token && choice.text_version === text_version) return useToken(choice.token)
  if (wish === text_version) return
  wish = text_version
  say(Level.company, 'granted', terms, (answer) => {
    // The visitor may have changed their mind since.
    if (wish !== text_version) return revoke(answer.token)
    wish = undefined
    if (!answer.token) return
    keep({ ...answer, text_version })
    useToken(answer.token)
    measure()
  })
}

// takeBack ends the grant that is held, and remembers the text that is refused.
function takeBack(text_version?: string | false): void {
  recall()
  const withdraw = choice.token || token || choice.withdraw
  if (withdraw || text_version) keep({ optout: choice.optout, withdraw, text_version: text_version || undefined })
  useToken(undefined)
  wish = undefined
}

// deny takes back what was granted, and says no.
export function deny(terms: Terms = {}): void {
  takeBack(terms.remember && options.textVersion)
  say(Level.choice, 'refused', terms, acknowledged)
}

// withdraw takes back what was granted.
export function withdraw(): void {
  takeBack()
  revoke(choice.withdraw)
}

// object is the visitor's own opt-out, or the end of it.
export function object(optout?: boolean): void {
  withdraw()
  keep({ ...choice, optout })
}
