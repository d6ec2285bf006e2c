import { type Adapter, flags, statement } from './adapter'

// CookieYes: https://www.cookieyes.com/documentation/retrieving-consent-data-using-api-getckyconsent/
// Before a choice the categories hold the defaults of the law that applies; under
// "ccpa" these are yes, and stay so unless the visitor opts out.
export const cookieyes: Adapter = (page, { category = 'analytics' }) => ({
  source: 'cookieyes',
  events: ['cookieyes_banner_load', 'cookieyes_consent_update'],
  read() {
    const consent = page.getCkyConsent?.()
    if (!consent?.categories) return undefined
    const raw = flags(consent.categories) + ',law=' + consent.activeLaw
    if (!consent.isUserActionCompleted) return statement(null, raw)
    if (!consent.categories[category]) return statement(false, raw)
    return statement(consent.activeLaw === 'gdpr' || null, raw)
  },
})
