// The visitor's own choice: what of it is in force, and what of it is kept in
// first-party storage, under one name. Before a choice nothing is there, and a
// page whose tag does not say that the site has choices (data-consent,
// data-banner, data-cmp) does not even look.

import type { Answer, Item } from './delivery'
import { quietly } from './quiet'
import { options } from './tag'

// A grant is the collector's answer: the token it signed, which holds the
// visitor's id, and expires_at, until when it lasts (Unix milliseconds).
interface Choice extends Answer {
  // The text that was agreed to, or refused in the banner, which does not ask
  // for it again.
  text_version?: string | undefined
  // Events under the grant that could not be delivered.
  events?: Item[] | undefined
  // The token of a grant that is taken back, until the collector knows.
  withdraw?: string | undefined
  // An objection.
  optout?: boolean | undefined
}

export let choice: Choice = {}

// The consent token things are sent with.
export let token: string | undefined

export const useToken = (next: string | undefined): void => {
  token = next
}

let read = false

// recall reads the choice of an earlier page, or of another tab.
export const recall = (before = choice.token): void => {
  read = true
  quietly(() => {
    choice = { ...JSON.parse(localStorage.visitor || null) }
  })
  if (choice.expires_at! < Date.now()) keep({})
  // A token the page gave us is not ours to change.
  if (token == before) useToken(choice.token)
}

// refresh follows a change that was made in another tab.
export const refresh = (): void => {
  if (read) recall()
}

// keep changes the choice. The device holds nothing when nothing is left of it.
// Where the browser keeps storage from us it holds for this document.
export const keep = (next: Choice, text = JSON.stringify((choice = next))): void =>
  quietly(() => (text[2] ? (localStorage.visitor = text) : delete localStorage.visitor))

// What a thing to be sent needs, and what the visitor allows.
export const enum Level {
  // The visitor's own choice is always sent.
  choice,
  // They do not object.
  company,
  // They have agreed.
  analytics,
  // They have ticked the form's own box: known before it is sent, or nothing is.
  box,
}

// level says what the visitor allows. An objection is Global Privacy Control, Do
// Not Track (honoured unless the site's tag says otherwise; the collector has the
// last word), or their own opt-out. It is asked before everything that is sent:
// the visitor may change their mind while the page is open.
export const level = (): Level => {
  return navigator.globalPrivacyControl || (options.dnt != 'ignore' && (navigator.doNotTrack as unknown) == 1) || choice.optout
    ? Level.choice
    : token
      ? Level.analytics
      : Level.company
}
