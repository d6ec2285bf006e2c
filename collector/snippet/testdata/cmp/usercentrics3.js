// A double of Usercentrics v3 (Web CMP), after
// https://usercentrics.com/docs/web/features/api/control-functionality/ and
// …/features/api/interfaces/#consentdetails: window.__ucCmp.getConsentDetails, which
// answers by a promise, the UC_UI of v2 beside it without types in its history, and
// the window events UC_UI_INITIALIZED, UC_CONSENT (detail is ConsentDetails) and
// UC_UI_CMP_EVENT.
// Traps: UC_CONSENT on every load with the defaults, type IMPLICIT; given may be true
// there; the promise is refused before the script has started.
{
  const options = window.double?.usercentrics3 ?? {}
  let started = false
  let type = 'IMPLICIT'
  const services = {
    H1Vl5NidjWX: { name: 'Usercentrics Consent Management Platform', category: 'essential', essential: true, given: true },
    mtv1: { name: 'Metiva', category: 'analytics', essential: false, given: options.implied === true },
    ads1: { name: 'Google Ads', category: 'marketing', essential: false, given: options.implied === true },
  }
  const details = () => ({
    consent: { status: 'SOME_ACCEPTED', type, required: type === 'IMPLICIT', language: 'nl', setting: { id: 'abc', type: 'GDPR', version: '1.2.3' } },
    services: Object.fromEntries(
      Object.entries(services).map(([id, { name, category, essential, given }]) => [id, { name, category, essential, version: '3.1.0', consent: { given, type } }]),
    ),
    categories: {},
  })
  window.__ucCmp = { getConsentDetails: () => (started ? Promise.resolve(details()) : Promise.reject(new Error('not initialized'))) }
  window.UC_UI = {
    isInitialized: () => started,
    getServicesBaseInfo: () => Object.entries(services).map(([id, s]) => ({ id, name: s.name, isEssential: s.essential, consent: { status: s.given, history: [] } })),
  }
  const choose = (event, given) => {
    type = 'EXPLICIT'
    for (const [id, s] of Object.entries(services)) s.given = s.essential || given(id)
    dispatchEvent(new CustomEvent('UC_CONSENT', { detail: details() }))
    dispatchEvent(new CustomEvent('UC_UI_CMP_EVENT', { detail: { source: 'FIRST_LAYER', type: event } }))
  }
  const start = () => {
    started = true
    dispatchEvent(new Event('UC_UI_INITIALIZED'))
    dispatchEvent(new CustomEvent('UC_CONSENT', { detail: details() }))
  }
  ;(window.visit ??= {}).usercentrics3 = {
    accept: () => choose('ACCEPT_ALL', () => true),
    refuse: () => choose('DENY_ALL', () => false),
    only: (...ids) => choose('SAVE', (id) => ids.includes(id)),
    start,
  }
  if (options.stored) {
    type = 'EXPLICIT'
    services.mtv1.given = services.ads1.given = options.stored === 'accept'
  }
  if (!options.notStarted) start()
}
