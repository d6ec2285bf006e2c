import { pageAddress, referrerAddress } from './address'
import type { Delivery } from './delivery'
import { uuidv7 } from './id'

// watchViews reports a page view when the page is shown first, when a script
// changes its path, and when it comes back from the back/forward cache.
// A change of query or fragment alone is not a view: it would look like the
// same page twice, since the query is not recorded.
export function watchViews(delivery: Delivery, objects: () => boolean): void {
  let path = ''
  let previous = document.referrer

  const view = (referrer: string): void => {
    path = location.pathname
    previous = location.href
    if (objects() || !/^https?:$/.test(location.protocol)) return
    const at = Date.now()
    delivery.add({
      id: uuidv7(at),
      type: 'page_view',
      at,
      url: pageAddress(location.href),
      referrer: referrerAddress(referrer),
    })
  }

  const navigated = (): void => {
    if (location.pathname !== path) view(previous)
  }

  view(previous)
  // The page's own call runs first and untouched; what we do after it cannot
  // make it fail.
  for (const name of ['pushState', 'replaceState'] as const) {
    const original = history[name]
    history[name] = function (this: History, ...args: Parameters<History['pushState']>): void {
      original.apply(this, args)
      quietly(navigated)
    }
  }
  addEventListener('popstate', () => quietly(navigated))
  addEventListener('pageshow', (e) => {
    // Shown again from memory. Where the visitor comes from now is unknown;
    // document.referrer still has what it was the first time.
    if (e.persisted) quietly(() => view(''))
  })
}

// quietly runs our code so that nothing of it reaches the page's error
// handlers.
export function quietly(run: () => void): void {
  try {
    run()
  } catch {
    // Measuring a page must not break it.
  }
}
