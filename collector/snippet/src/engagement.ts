// Engagement: how long a view was visible and how far it was scrolled, once per
// view, when it is hidden or left. Under a grant only, and from the grant on.

import { emit } from './events'
import { token } from './record'

// When the view was first visible: undefined until it is, 0 when it is over.
let since: number | undefined = 0
let deepest = 0

// look notes how far the view is scrolled. Where the page is not laid out yet it
// makes the browser do so, so it is called when that is done anyhow.
export const look = (): void => {
  deepest = Math.max(deepest, Math.min(100, ((scrollY + innerHeight) / document.documentElement.scrollHeight) * 100) | 0)
}

// seen notes that the view is visible.
export const seen = (): void => {
  since = since ?? performance.now()
}

// measure begins anew: another view, or a grant.
export const measure = (): void => {
  since = undefined
  deepest = 0
  if (!document.hidden) seen()
}

// leave ends the view.
export const leave = (): void => {
  if (since && token) {
    look()
    emit('engagement', { visible_ms: (performance.now() - since) | 0, scroll: deepest })
  }
  since = 0
}
