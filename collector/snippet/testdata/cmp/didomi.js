// A double of Didomi's web SDK, after
// https://developers.didomi.io/cmp/web-sdk/reference/api and …/reference/events:
// window.Didomi with on, getUserStatus, getCurrentUserStatus and
// shouldUserStatusBeCollected, didomiOnReady, and the event consent.changed.
// Traps: Didomi is there before it is ready, and its calls fail or know nothing then;
// a choice of long ago that is to be collected again;
// getCurrentUserStatus counts a purpose under legitimate interest, and an essential
// one, as enabled before any choice; consent.changed only when something changed;
// under another regulation than the GDPR everything is enabled.
{
  const options = window.double?.didomi ?? {}
  const regulation = options.regulation ?? 'gdpr'
  const all = ['cookies', 'measure_content_performance', 'market_research', 'create_ads_profile']
  const listeners = []
  let ready = false
  let consent = { enabled: [], disabled: [] }
  const whenReady = (value, before) => {
    if (ready) return value()
    if (before) return before
    throw new Error('Didomi is not ready')
  }
  window.Didomi = {
    on: (event, listener) => whenReady(() => event === 'consent.changed' && listeners.push(listener)),
    getUserStatus: () => whenReady(() => userStatus(consent), userStatus({ enabled: [], disabled: all })),
    getCurrentUserStatus: () =>
      whenReady(
        () => ({
          regulation,
          created: '2026-11-22T10:00:00.000Z',
          purposes: Object.fromEntries(all.map((id) => [id, { id, enabled: id === 'market_research' || consent.enabled.includes(id) }])),
          vendors: {},
        }),
        { regulation: 'gdpr', purposes: {}, vendors: {} },
      ),
    shouldUserStatusBeCollected: () =>
      options.expired === true || (ready && regulation !== 'none' && consent.enabled.length + consent.disabled.length < all.length),
    reset() {
      consent = { enabled: [], disabled: [] }
    },
  }
  const userStatus = ({ enabled, disabled }) => ({
    regulation,
    purposes: {
      consent: { enabled: [...enabled], disabled: [...disabled] },
      legitimate_interest: { enabled: ['market_research'], disabled: [] },
      global: { enabled: ['market_research', ...enabled], disabled: [...disabled] },
    },
    vendors: { consent: { enabled: [], disabled: [] }, legitimate_interest: { enabled: [], disabled: [] } },
  })
  const choose = (enabled) => {
    const disabled = all.filter((id) => !enabled.includes(id))
    if (String(enabled) === String(consent.enabled) && String(disabled) === String(consent.disabled)) return
    consent = { enabled, disabled }
    for (const listener of listeners) listener({ action: 'click' })
  }
  const start = () => {
    ready = true
    const waiting = window.didomiOnReady ?? []
    window.didomiOnReady = { push: (callback) => callback(window.Didomi) }
    for (const callback of waiting) callback(window.Didomi)
  }
  ;(window.visit ??= {}).didomi = {
    accept: () => choose(all),
    only: (...ids) => choose(ids),
    refuse: () => choose([]),
    reset() {
      window.Didomi.reset()
      for (const listener of listeners) listener({ action: 'reset' })
    },
    // The event again, although nothing has changed.
    again() {
      for (const listener of listeners) listener({ action: 'navigate' })
    },
    start,
  }
  if (options.stored || regulation !== 'gdpr') choose(options.stored === 'refuse' ? [] : all)
  if (!options.notReady) start()
}
