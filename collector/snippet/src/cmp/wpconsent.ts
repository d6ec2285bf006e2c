import { type Adapter, statement } from './adapter'

// WP Consent API: https://wordpress.org/plugins/wp-consent-api/
// It carries what some platform chose and is none itself. Without a consent type
// wp_has_consent says yes to everything, and under opt-out to whoever said nothing.
// Under opt-in its no is silence or a refusal; only the event of a change tells.
export const wpConsent: Adapter = (page, { category = 'statistics' }, changed) => {
  let denied = false
  page.addEventListener(
    'wp_listen_for_consent_change',
    (event: CustomEvent) => {
      const value = event.detail?.[category]
      if (value) denied = value === 'deny'
      changed()
    },
    true,
  )
  return {
    source: 'wp_consent_api',
    events: ['wp_consent_type_defined'],
    read() {
      const type = page.wp_consent_type ?? page.wp_fallback_consent_type
      if (!type || typeof page.wp_has_consent !== 'function') return undefined
      const has = !!page.wp_has_consent(category)
      const raw = `${category}=${has ? 'allow' : 'deny'},type=${type}`
      if (type === 'optin') return statement(has || (denied ? false : null), raw)
      return statement(has ? null : false, raw)
    },
  }
}
