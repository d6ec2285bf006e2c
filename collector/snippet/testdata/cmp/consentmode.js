// A double of Google Consent Mode v2, after
// https://developers.google.com/tag-platform/security/guides/consent: gtag, which pushes
// its arguments on dataLayer, with the commands consent default and consent update.
// Traps: the default is set by the site and is no choice; an update names only what
// changed; other things are pushed on the same layer; Tag Manager replaces push.
{
  const options = window.double?.consentmode ?? {}
  window.dataLayer = window.dataLayer ?? []
  window.gtag = function gtag() {
    window.dataLayer.push(arguments)
  }
  window.gtag('js', new Date())
  window.gtag('consent', 'default', { ad_storage: 'denied', analytics_storage: options.default ?? 'denied', wait_for_update: 500 })
  window.dataLayer.push({ event: 'gtm.js' }, null, 'consent')
  const update = (state) => window.gtag('consent', 'update', state)
  if (options.stored) update({ ad_storage: 'denied', analytics_storage: options.stored === 'accept' ? 'granted' : 'denied' })
  ;(window.visit ??= {}).consentmode = {
    accept: () => update({ ad_storage: 'granted', analytics_storage: 'granted' }),
    refuse: () => update({ ad_storage: 'denied', analytics_storage: 'denied' }),
    update,
    tagManager() {
      const before = window.dataLayer.push
      window.dataLayer.push = (...entries) => before.apply(window.dataLayer, entries)
    },
  }
}
