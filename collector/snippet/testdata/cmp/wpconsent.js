// A double of the WP Consent API's script, after
// https://wordpress.org/plugins/wp-consent-api/ ("wp_has_consent"): wp_has_consent,
// wp_set_consent, wp_consent_type, wp_fallback_consent_type, and the document events
// wp_listen_for_consent_change (detail is an array with the category as a property)
// and wp_consent_type_defined.
// Traps: without a consent type everything is allowed; under "optout" whoever said
// nothing is allowed; under "optin" silence and a refusal are the same no.
{
  const options = window.double?.wpconsent ?? {}
  const values = options.stored ? { statistics: options.stored === 'accept' ? 'allow' : 'deny' } : {}
  window.wp_fallback_consent_type = options.fallback ?? false
  const define = (type) => {
    window.wp_consent_type = type
    document.dispatchEvent(new CustomEvent('wp_consent_type_defined'))
  }
  window.wp_has_consent = (category) => {
    const type = window.wp_consent_type ?? window.wp_fallback_consent_type
    if (!type) return true
    if (type.includes('optout') && !values[category]) return true
    return values[category] === 'allow'
  }
  window.wp_set_consent = (category, value) => {
    if (values[category] === value) return
    values[category] = value
    const detail = []
    detail[category] = value
    document.dispatchEvent(new CustomEvent('wp_listen_for_consent_change', { detail }))
  }
  ;(window.visit ??= {}).wpconsent = {
    accept: () => ['statistics-anonymous', 'statistics', 'marketing'].forEach((c) => window.wp_set_consent(c, 'allow')),
    refuse: () => ['statistics-anonymous', 'statistics', 'marketing'].forEach((c) => window.wp_set_consent(c, 'deny')),
    set: window.wp_set_consent,
    define,
  }
  if (options.type) define(options.type)
}
