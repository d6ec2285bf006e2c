import { route } from './address'
import { leave, measure } from './engagement'
import { arrive, emit } from './events'
import { on, quietly } from './quiet'
import { refresh } from './record'

// watchViews reports a page view when the page is shown first, when a script
// changes its path, and when it comes back from the back/forward cache.
// A change of query or fragment alone is not a view: it would look like the
// same page twice, since the query is not recorded.
export const watchViews = (): void => {
  let path = ''

  // A referrer is reduced to its origin; the path of somebody else's page is none
  // of ours.
  const view = (from: string): void => {
    const referrer = from && new URL(from).origin
    leave()
    path = route()
    arrive()
    emit('page_view', { referrer })
    measure()
  }

  const navigated = (): void => {
    if (route() != path) view(location.href)
  }

  view(document.referrer)
  // The page's own call runs first and untouched; what we do after it cannot
  // make it fail.
  for (const name of ['pushState', 'replaceState'] as const) {
    const original = history[name]
    history[name] = function (this: History, ...args: Parameters<History['pushState']>): void {
      original.apply(this, args)
      quietly(navigated)
    }
  }
  on<PageTransitionEvent>('pageshow', (e) => {
    // Shown again from memory. Where the visitor comes from now is unknown;
    // document.referrer still has what it was the first time.
    if (!e.persisted) return
    refresh()
    view('')
  })
  on('popstate', navigated)
}
