// A double of Complianz (cookiebanner/js/complianz.js), after
// https://complianz.io/developers-guide-for-hooks-and-events/: the object complianz,
// cmplz_has_consent, cmplz_get_banner_status, and the document events
// cmplz_status_change (detail.category, value, categories), cmplz_fire_categories,
// cmplz_banner_status and cmplz_revoke.
// Traps: has_consent is yes before a choice under "optout" and "other"; "optinstats"
// counts statistics without asking; refusing dismisses the banner before the
// categories are set, one event each; statistics-anonymous is a yes of its own; a click
// on an embedded video dismisses the banner without choosing anything.
{
  const options = window.double?.complianz ?? {}
  const type = options.type ?? 'optin'
  const values = {}
  let banner = ''
  const fire = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }))
  const accepted = () => ['functional', ...Object.keys(values).filter((name) => values[name] === 'allow')]
  window.complianz = { consenttype: type, region: options.region ?? 'eu', prefix: 'cmplz_' }
  window.cmplz_get_banner_status = () => banner
  window.cmplz_has_consent = (category) =>
    category === 'functional' ||
    category === 'statistics-anonymous' ||
    ((type === 'optout' || type === 'other') && !values[category]) ||
    (type === 'optinstats' && category === 'statistics' && !values[category]) ||
    values[category] === 'allow'
  const dismiss = () => {
    banner = 'dismissed'
    fire('cmplz_banner_status', 'dismissed')
  }
  const set = (category, value) => {
    if (values[category] === value) return
    values[category] = value
    fire('cmplz_status_change', { category, value, region: 'eu', categories: accepted() })
  }
  const end = () => fire('cmplz_fire_categories', { category: accepted().at(-1), categories: accepted() })
  const visit = {
    accept() {
      for (const category of ['preferences', 'statistics', 'marketing']) set(category, 'allow')
      dismiss()
      end()
    },
    refuse() {
      dismiss()
      for (const category of ['preferences', 'statistics', 'marketing']) set(category, 'deny')
      end()
    },
    only(...allowed) {
      for (const category of ['preferences', 'statistics', 'marketing']) set(category, allowed.includes(category) ? 'allow' : 'deny')
      dismiss()
      end()
    },
    dismiss,
  }
  ;(window.visit ??= {}).complianz = visit
  if (options.stored) visit[options.stored]()
  else end()
}
