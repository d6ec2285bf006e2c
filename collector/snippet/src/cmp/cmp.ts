import type { Adapter, Answer, Page, Platform, Statement } from './adapter'
import { register } from './claims'
import { complianz } from './complianz'
import { consentMode } from './consentmode'
import { cookiebot } from './cookiebot'
import { cookieyes } from './cookieyes'
import { didomi } from './didomi'
import { klaro } from './klaro'
import { onetrust } from './onetrust'
import { tcf } from './tcf'
import { usercentrics } from './usercentrics'
import { vanilla } from './vanilla'
import { wpConsent } from './wpconsent'

// cmp.js: what the consent platforms of the page say, handed to the snippet by
// visitor('consent', 'cmp', …). The core loads it only where there is a platform.

const adapters: Adapter[] = [
  cookiebot, onetrust, cookieyes, complianz, wpConsent, didomi, usercentrics, klaro, vanilla, tcf, consentMode,
]

// The looks for a platform that loads after us: ten of them, in 51 seconds. After
// that only a platform's own events are heard.
const firstWaitMs = 50
const lastWaitMs = 25600

function start(): void {
  const page = window as unknown as Page
  // Other vendors' scripts have a data-site too; ours begins as our keys do.
  const tag = document.querySelector<HTMLElement>('script[data-site^="pk_"]')?.dataset
  const options = { category: tag?.cmpCategory || undefined, vendor: tag?.cmpVendor || undefined }
  const said: Record<string, Answer> = {}
  let asked = false

  const soon = (): void => {
    // Platforms fire before, between and after they set their state; by the next
    // task it is whole. Several events of one choice are read once.
    if (asked) return
    asked = true
    setTimeout(() => {
      asked = false
      look()
    })
  }

  const platforms: Platform[] = []
  for (const adapter of adapters) quietly(() => platforms.push(adapter(page, options, soon)))
  for (const { events = [] } of platforms) for (const name of events) addEventListener(name, soon, true)

  const look = (): void => {
    // A page may load this file before the snippet; what is said is said to somebody.
    if (!page.visitor?.ready) return
    register(page, tag?.cmp)
    const news: (Statement & { source: string })[] = []
    for (const { source, read } of platforms) {
      quietly(() => {
        const statement = read()
        if (!statement) return
        const before = said[source]
        let { analytics } = statement
        // A choice that is gone has been taken back, if it was a yes.
        if (analytics === null && before) analytics = false
        if (analytics === null && before === false) return
        if (analytics === before) return
        said[source] = analytics
        news.push({ source, analytics, raw: statement.raw })
      })
    }
    // Refusals first: nothing is granted for a moment that another one refuses.
    news.sort((a, b) => +(b.analytics === false) - +(a.analytics === false))
    for (const claim of news) quietly(() => page.visitor('consent', 'cmp', claim))
  }

  const again = (waitMs: number): void => {
    look()
    if (waitMs <= lastWaitMs) setTimeout(again, waitMs, waitMs * 2)
  }
  again(firstWaitMs)
}

// quietly runs our code so that nothing of it reaches the page's error handlers.
function quietly(run: () => void): void {
  try {
    run()
  } catch {
    // Whatever a platform does, the page goes on.
  }
}

quietly(start)
