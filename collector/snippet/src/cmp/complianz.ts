import { type Adapter, statement } from './adapter'

// Complianz: https://complianz.io/developers-guide-for-hooks-and-events/
// cmplz_has_consent says yes to everything in regions without a banner or with opt-out,
// and to crawlers; "optinstats" counts statistics without asking. The banner is
// "dismissed" before or after the categories are set, so what counts is the state
// after the event. "statistics-anonymous" is a category of its own and never read.
export const complianz: Adapter = (page, { category = 'statistics' }) => ({
  source: 'complianz',
  events: ['cmplz_status_change', 'cmplz_fire_categories', 'cmplz_banner_status', 'cmplz_revoke'],
  read() {
    const type = page.complianz?.consenttype
    if (!type || typeof page.cmplz_has_consent !== 'function') return undefined
    const has = !!page.cmplz_has_consent(category)
    const raw = `${category}=${has ? 'allow' : 'deny'},type=${type}`
    if (page.cmplz_get_banner_status?.() !== 'dismissed') return statement(null, raw)
    return statement(has && type !== 'optin' ? null : has, raw)
  },
})
