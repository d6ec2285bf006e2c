import { type Adapter, type Answer, all, statement } from './adapter'

// Didomi: https://developers.didomi.io/cmp/web-sdk/reference/api
// getCurrentUserStatus counts legitimate interest and essential purposes as
// enabled; the consent lists of getUserStatus do not, and hold a purpose in neither
// list until the visitor has chosen. Nothing may be asked before didomiOnReady.
export const didomi: Adapter = (page, { category }, changed) => {
  let subscribed = false
  let ready = false
  return {
    source: 'didomi',
    read() {
      if (!page.Didomi) return undefined
      if (!subscribed) {
        subscribed = true
        ;(page.didomiOnReady ||= []).push(() => {
          ready = true
          page.Didomi.on('consent.changed', changed)
          changed()
        })
      }
      if (!ready) return undefined
      const { purposes, vendors } = page.Didomi.getUserStatus()
      const answer = (id: string): Answer => {
        const has = (list: 'enabled' | 'disabled') => purposes.consent[list].includes(id) || vendors.consent[list].includes(id)
        return has('disabled') ? false : has('enabled') || null
      }
      const ids = category ? [category] : ['cookies', 'measure_content_performance', 'market_research']
      const [first = null, ...others] = ids.map(answer)
      // One of the two purposes of analytics is enough.
      const chosen = all(category ? [first] : [first, others.includes(true) || all(others.filter((a) => a !== null))])
      const raw = ids.map((id) => id + '=' + answer(id)).join()
      if (chosen && page.Didomi.getCurrentUserStatus().regulation !== 'gdpr') return statement(null, raw)
      return statement(page.Didomi.shouldUserStatusBeCollected() ? null : chosen, raw)
    },
  }
}
