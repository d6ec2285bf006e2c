// Engagement: how long a view was visible and how far it was scrolled, once per
// view, when it is hidden or left. Under a grant only, and from the grant on.

import { emit } from './events'

// When the view was first visible: undefined until it is, 0 when it is over.
let since: number | undefined = 0
let deepest = 0

// look notes how far the view is scrolled, and that it is visible.
export function look(): void {
  if (!document.hidden) since = since ?? performance.now()
  deepest = Math.max(deepest, Math.min(100, ((scrollY + innerHeight) / document.documentElement.scrollHeight) * 100) | 0)
}

// measure begins anew: another view, or a grant.
export function measure(): void {
  since = undefined
  deepest = 0
  look()
}

// leave ends the view.
export function leave(): void {
  if (since) emit('engagement', { visible_ms: (performance.now() - since) | 0, scroll: deepest })
  since = 0
}
