import { type Adapter, all, flags, matcher, statement } from './adapter'

// vanilla-cookieconsent v3: https://cookieconsent.orestbida.com/reference/api-reference.html
// Under mode "opt-out" scripts run before a choice, and a category that is read-only
// or enabled beforehand is none: validConsent and the configuration tell. After a
// reset there is nothing to read until the dialogue is shown again. Cookiebot has an
// old global of the same name. Loaded as a module it leaves no global; the site then
// sets window.CookieConsent itself.
export const vanilla: Adapter = (page, { category }) => ({
  source: 'vanilla_cookieconsent',
  events: ['cc:onConsent', 'cc:onChange', 'cc:onModalShow'],
  read() {
    const cc = page.CookieConsent
    const categories: Record<string, { enabled?: boolean; readOnly?: boolean }> | undefined = cc?.getConfig?.('categories')
    if (!categories) return undefined
    const names = Object.keys(categories).filter(matcher(category))
    if (!names.length) return undefined
    const optOut = cc.getConfig('mode') === 'opt-out'
    const raw = flags(Object.fromEntries(names.map((name) => [name, cc.acceptedCategory(name)])))
    const answers = names.map((name) => {
      if (!cc.validConsent()) return null
      if (!cc.acceptedCategory(name)) return false
      const { enabled, readOnly } = categories[name]!
      return optOut || enabled || readOnly ? null : true
    })
    return statement(all(answers), raw)
  },
})
