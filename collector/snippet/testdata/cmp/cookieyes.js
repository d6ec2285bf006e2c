// A double of CookieYes, after
// https://www.cookieyes.com/documentation/retrieving-consent-data-using-api-getckyconsent/
// and https://www.cookieyes.com/documentation/events-on-cookie-banner-interactions/:
// getCkyConsent, and the document events cookieyes_banner_load (detail as
// getCkyConsent) and cookieyes_consent_update (detail.accepted, detail.rejected).
// Traps: categories before any choice hold the defaults of the law, yes under
// "ccpa"; the update is fired before getCkyConsent answers with it.
{
  const options = window.double?.cookieyes ?? {}
  const law = options.law ?? 'gdpr'
  const fire = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }))
  const set = (yes) => ({ necessary: true, functional: yes, analytics: yes, performance: yes, advertisement: yes })
  let state = { categories: set(law === 'ccpa'), isUserActionCompleted: false }
  window.getCkyConsent = () => ({ activeLaw: law, ...state, consentID: 'bFl2eFJBN05V', languageCode: 'nl' })
  const choose = (categories) => {
    const names = (yes) => Object.keys(categories).filter((name) => categories[name] === yes)
    fire('cookieyes_consent_update', { accepted: names(true), rejected: names(false) })
    state = { categories, isUserActionCompleted: true }
  }
  ;(window.visit ??= {}).cookieyes = {
    accept: () => choose(set(true)),
    acceptAnalyticsOnly: () => choose({ ...set(false), analytics: true }),
    refuse: () => choose(set(false)),
  }
  if (options.stored) state = { categories: set(options.stored === 'accept'), isUserActionCompleted: true }
  fire('cookieyes_banner_load', window.getCkyConsent())
}
