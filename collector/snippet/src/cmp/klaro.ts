import { type Adapter, all, matcher, statement } from './adapter'

interface Service {
  name: string
  purposes?: string[]
  default?: boolean
  required?: boolean
  optOut?: boolean
}

// Klaro: https://klaro.org/docs/api/js_api (0.7)
// The manager has consents before any choice (the defaults), and changes them while
// the visitor moves switches without saving: confirmed and savedConsents tell. A
// service that is required, opt-out or ticked beforehand is no choice.
export const klaro: Adapter = (page, { category }, changed) => {
  const wanted = matcher(category)
  let watched: unknown
  return {
    source: 'klaro',
    read() {
      // Without a configuration there is no manager yet, and asking would make one.
      if (!page.klaro?.defaultConfig) return undefined
      const manager = page.klaro.getManager()
      if (manager !== watched) {
        watched = manager
        manager.watch({ update: changed })
      }
      const config: Service & { services: Service[] } = manager.config
      const services = config.services.filter((s) => wanted(s.name) || s.purposes?.some(wanted))
      if (!services.length) return undefined
      const answers = services.map((s) => {
        if (!manager.confirmed) return null
        if (!manager.savedConsents[s.name]) return false
        const set = (name: 'default' | 'required' | 'optOut') => s[name] ?? config[name]
        return set('default') || set('required') || set('optOut') ? null : true
      })
      return statement(all(answers), services.map((s, i) => s.name + '=' + answers[i]).join())
    },
  }
}
