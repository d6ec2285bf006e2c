// Delivery keeps what is to be sent in memory until the collector has answered
// for it: fetch with keepalive in the ordinary case, sendBeacon when the page
// goes. One request is under way at a time.

import { choice, keep, Level, level, refresh, token } from './record'
import { beside, options, tell } from './tag'

// Answer is what the collector may say, on any of its paths.
export interface Answer {
  results?: Answer[]
  outcome?: string
  state?: string
  reason?: string
  token?: string
  expires_at?: number | undefined
}

// Item is an event, whose body has a type, a capture or a call about consent.
export interface Item {
  path: string
  need: Level
  body: { type?: string; [name: string]: unknown }
  // The consent token at the time. One given later does not reach back over
  // events made without it.
  consent?: string | undefined
  done?: Done | undefined
}

export type Done = (answer: Answer) => void

const enum Limit {
  // What browsers allow for keepalive requests and beacons, and what the
  // collector reads, is 64 KiB: a batch of about twenty views and one thing more,
  // of three bytes a character, are under it. A request over it would fail for ever.
  batchChars = 6000,
  bodyChars = 15000,
  waitingEvents = 100,
  // 1, 2, 4 … 256 s, as long as the page lives.
  firstWaitMs = 500,
  doublings = 9,
  // A timer of 2^31 ms, of 24 days, fires at once: nobody is asked to wait for half.
  waitMsMax = 1e9,
}

let waiting: Item[] = []
let flying: Item[] = []
let attempts = 0
let timer: ReturnType<typeof setTimeout> | 0

// next takes the next batch: events that share a token, or one other thing.
const next = (): Item[] => {
  // What the visitor has taken back since reaches what still waits. Of events the
  // latest stay; calls and captures are few, a visitor makes each by hand.
  waiting = waiting.filter((w, i) => {
    if (!token) w.consent = token
    return w.need <= level() && (!w.body.type || waiting.length - i <= Limit.waitingEvents)
  })
  const batch = waiting.splice(0, 1)
  const [first] = batch
  while (first?.body.type && waiting[0]?.body.type && waiting[0].consent == first.consent && JSON.stringify(batch).length < Limit.batchChars) {
    batch.push(waiting.shift()!)
  }
  return batch
}

const text = (batch: Item[], { body, consent } = batch[0]!): string =>
  JSON.stringify({
    site: options.site,
    ...(body.type ? { automated: navigator.webdriver || undefined, sent_at: Date.now(), consent, events: batch.map((w) => w.body) } : body),
  })

const go = async (): Promise<void> => {
  if (flying[0] || timer || document.prerendering) return
  const batch = (flying = next())
  if (!batch[0]) return
  let waitMs = 0
  let again = batch
  try {
    const response = await fetch(beside(batch[0].path), {
      method: 'POST',
      body: text(batch),
      credentials: 'omit',
      // The page's address is in the body, reduced; not in a header, whole.
      referrerPolicy: 'origin',
      keepalive: true,
    })
    waitMs = (1000 * +response.headers.get('retry-after')!) % Limit.waitMsMax || 0
    if (!/5..|408|429/.test(response.status as unknown as string)) {
      // A refusal stands, also one that cannot be read, such as a proxy's page.
      if (!response.ok) again = []
      // 204: all of it, which is all an answer could say (?r=0).
      const answer: Answer = response.status == 204 ? { state: 'accepted' } : await response.json()
      again = batch.filter((w, i) => {
        const result = answer.results?.[i] || answer
        tell(w.body.type || w.path, result.outcome || result.state || 'dropped', result.reason)
        w.done?.(result)
        return result.outcome == 'retry'
      })
    }
  } catch {
    // No answer, or a yes that cannot be read: the same ids go again.
  }
  flying = []
  if (again[0]) {
    waiting.unshift(...again)
    attempts += +(attempts < Limit.doublings)
    // Partly random, so that pages do not come back together.
    timer = setTimeout(retry, Math.max(waitMs, (Limit.firstWaitMs << attempts)) * (1 + Math.random()))
  } else {
    attempts = 0
    void go()
  }
}

// retry sends at once what waits for its backoff.
export const retry = (): void => {
  clearTimeout(timer)
  timer = 0
  void go()
}

// add sends in a task of its own, so that what happens together goes together and
// the page's own task stays short; and after what is under way has its answer.
export const add = (...items: Item[]): void => {
  waiting.push(...items)
  timer = timer || setTimeout(retry)
}

// send takes one thing to be sent to a path, if the visitor allows it.
export const send = (path: string, need: Level, body: Item['body'], done?: Item['done']): void => {
  const reason = need > level() ? (level() ? 'consent_required' : 'objected') : JSON.stringify(body).length > Limit.bodyChars && 'too_large'
  if (reason) tell(body.type || path, 'dropped', reason)
  else add({ need, path, body, consent: body.type && token, done })
}

// handOver gives what waits to the browser because the page is hidden or goes. A
// batch already on its way is left alone: its request outlives the page. What failed
// before, and may again, and what the browser does not take stays in memory, for a
// page that lives on; and under a grant events of it are kept for the next page.
export const handOver = (): void => {
  const all = waiting
  const refused: Item[] = []
  for (let batch; (batch = next())[0]; ) if (!navigator.sendBeacon(beside(batch[0].path), text(batch))) refused.push(...batch)
  waiting = attempts ? all : refused
  const events = [...flying, ...all].filter((w) => w.consent)
  // Another tab may have taken the grant back.
  refresh()
  if (choice.token && (attempts || refused[0] || !navigator.onLine)) keep({ ...choice, events })
}
