// Delivery keeps events in memory until the collector has answered for each:
// fetch with keepalive in the ordinary case, sendBeacon when the page goes.
// Nothing is written to the device; what has not been acknowledged when the
// document ends is lost, and that is the price of storing nothing.

export interface PageEvent {
  id: string
  type: 'page_view'
  at: number
  url: string
  referrer?: string
}

interface Result {
  id: string
  outcome: 'accepted' | 'dropped' | 'retry'
}

interface Waiting {
  event: PageEvent
  // The consent token at the time of the event. A token given later does not
  // reach back over events made without it.
  consent: string | undefined
}

// Limits. A batch of 20 events stays under the 64 KiB that browsers allow for
// keepalive requests and beacons, and that the collector reads.
const batchEventsMax = 20
const waitingEventsMax = 100
// 1, 2, 4 … 32 s, about a minute in all; then the batch is given up.
const attemptsMax = 7
const backoffMs = 1000
const backoffMaxMs = 60000

export function newDelivery(site: string, endpoint: string, objects: () => boolean) {
  let waiting: Waiting[] = []
  let consent: string | undefined
  let attempts = 0
  // The batch whose request is under way.
  let flying: Waiting[] = []
  let timer: ReturnType<typeof setTimeout> | undefined

  // The events at the head that share one token: a batch carries one.
  const nextBatch = (from: Waiting[]): Waiting[] => {
    const other = from.findIndex((w) => w.consent !== from[0]!.consent)
    return from.slice(0, Math.min(batchEventsMax, other < 0 ? from.length : other))
  }

  const body = (batch: Waiting[]): string =>
    JSON.stringify({ site, sent_at: Date.now(), consent: batch[0]!.consent, events: batch.map((w) => w.event) })

  const forget = (done: Waiting[]): void => {
    waiting = waiting.filter((w) => !done.includes(w))
  }

  // post resolves to the events of the batch that must be sent again, and to
  // how long the collector asks us to wait.
  const post = async (batch: Waiting[]): Promise<[again: Waiting[], waitMs: number]> => {
    const response = await fetch(endpoint, {
      method: 'POST',
      body: body(batch),
      keepalive: true,
      credentials: 'omit',
      // The page's address is in the body, reduced; not in a header, whole.
      referrerPolicy: 'strict-origin',
    })
    const waitMs = 1000 * +(response.headers.get('retry-after') || 0) || 0
    if (response.status === 429 || response.status >= 500) return [batch, waitMs]
    if (!response.ok) return [[], 0] // refused for good: unknown site, bad request
    const results: Result[] = (await response.json()).results
    const again = results.filter((r) => r.outcome === 'retry').map((r) => r.id)
    return [batch.filter((w) => again.includes(w.event.id)), waitMs]
  }

  const send = async (): Promise<void> => {
    if (flying.length || timer || !waiting.length) return
    if (objects()) {
      waiting = []
      return
    }
    const batch = (flying = nextBatch(waiting))
    let again = batch
    let waitMs = 0
    try {
      ;[again, waitMs] = await post(batch)
    } catch {
      // No answer, or one that cannot be read: the same ids go again.
    }
    flying = []
    forget(batch.filter((w) => !again.includes(w)))
    if (!again.length) {
      attempts = 0
    } else if (++attempts >= attemptsMax) {
      attempts = 0
      forget(again)
    } else {
      // Half fixed, half random, so that pages do not come back together.
      const backoff = Math.min(backoffMaxMs, Math.max(waitMs, backoffMs * 2 ** (attempts - 1)))
      timer = setTimeout(retry, backoff * (0.75 + Math.random() / 2))
      return
    }
    void send()
  }

  const retry = (): void => {
    clearTimeout(timer)
    timer = undefined
    void send()
  }

  return {
    add(event: PageEvent): void {
      waiting.push({ event, consent })
      if (waiting.length > waitingEventsMax) waiting.shift()
      void send()
    },

    setConsent(token: string | undefined): void {
      consent = token
      // Taken back: what still waits goes without it.
      if (!token) for (const w of waiting) w.consent = undefined
    },

    // retry sends at once what waits for its backoff.
    retry,

    // handOver gives what waits to the browser because the page is going. A
    // batch already on its way is left alone: its request outlives the page.
    handOver(): void {
      if (objects()) return
      for (;;) {
        const batch = nextBatch(waiting.filter((w) => !flying.includes(w)))
        if (!batch.length || !navigator.sendBeacon(endpoint, body(batch))) return
        forget(batch)
      }
    },
  }
}

export type Delivery = ReturnType<typeof newDelivery>
