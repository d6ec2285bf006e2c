// A double of Usercentrics v2 (Browser UI), after
// https://usercentrics.com/docs/web/features/v2/events_v2/events_v2/ and the
// interfaces BaseService and ConsentHistory of @usercentrics/cmp-browser-sdk:
// UC_UI.isInitialized, isConsentRequired and getServicesBaseInfo, and the window
// events UC_UI_INITIALIZED, UC_UI_CMP_EVENT and one whose name the customer chooses
// (detail event "consent_status", action, type, ucCategory).
// Traps: the customer's event on every load, before a choice; outside the European
// Union every service is on, by onNonEURegion and implicitly; essential services.
{
  const options = window.double?.usercentrics2 ?? {}
  const service = (id, name, categorySlug, isEssential = false) => ({ id, name, categorySlug, isEssential, isHidden: false, consent: { status: isEssential, history: [] } })
  const services = [
    service('H1Vl5NidjWX', 'Usercentrics Consent Management Platform', 'essential', true),
    service('mtv1', 'Metiva (visits & companies)', 'statistics'),
    service('HkocEodjb7', 'Google Analytics', 'statistics'),
    service('r1Tk5Nod', 'Server statistics', 'statistics', true),
    service('ads1', 'Google Ads', 'marketing'),
  ]
  let initialized = false
  const decide = (action, type, given) => {
    for (const s of services) {
      if (!s.isEssential) s.consent.status = given(s)
      s.consent.history.push({ action, type, status: s.consent.status, language: 'nl', timestamp: 1795348830001 })
    }
    dispatchEvent(new CustomEvent('ucEvent', { detail: { event: 'consent_status', action, type, ucCategory: {} } }))
  }
  const click = (event, action, given) => {
    decide(action, 'explicit', given)
    dispatchEvent(new CustomEvent('UC_UI_CMP_EVENT', { detail: { source: 'button', type: event } }))
  }
  window.UC_UI = {
    isInitialized: () => initialized,
    isConsentRequired: () => !services[1].consent.history.some((h) => h.type === 'explicit'),
    getServicesBaseInfo: () => (initialized ? services.map((s) => ({ ...s, consent: { status: s.consent.status, history: [...s.consent.history] } })) : []),
  }
  ;(window.visit ??= {}).usercentrics2 = {
    accept: () => click('ACCEPT_ALL', 'onAcceptAllServices', () => true),
    refuse: () => click('DENY_ALL', 'onDenyAllServices', () => false),
    only: (...ids) => click('SAVE', 'onUpdateServices', (s) => ids.includes(s.id)),
  }
  if (options.stored) decide('onUpdateServices', 'explicit', () => options.stored === 'accept')
  initialized = true
  if (options.region === 'none') decide('onNonEURegion', 'implicit', () => true)
  else if (!options.stored) decide('onInitialPageLoad', 'implicit', () => false)
  dispatchEvent(new Event('UC_UI_INITIALIZED'))
}
