import { type Adapter, type Statement } from './adapter'

// Google Consent Mode v2: https://developers.google.com/tag-platform/security/guides/consent
// Read from the commands on the data layer. A default is the site's, not the
// visitor's; an update is taken for a choice. It may lower: a yes only takes an
// earlier no back, and the core grants nothing for it. Raw is the parameter gcs.
export const consentMode: Adapter = (page, _, changed) => {
  let watched: unknown
  let last: Statement | undefined
  const state: Record<string, string> = {}
  const digit = (value?: string): string => (value === 'granted' ? '1' : value === 'denied' ? '0' : '-')
  const note = (command: ArrayLike<any>): void => {
    if (command?.[0] !== 'consent' || command[1] !== 'update') return
    Object.assign(state, command[2])
    const analytics = digit(state.analytics_storage)
    if (analytics === '-') return
    last = { analytics: analytics === '1', raw: 'G1' + digit(state.ad_storage) + analytics }
    changed()
  }
  return {
    source: 'consent_mode',
    read() {
      const layer = page.dataLayer
      if (Array.isArray(layer) && layer !== watched) {
        watched = layer
        layer.forEach(note)
        const push = layer.push
        layer.push = (...commands) => {
          const length = push.apply(layer, commands)
          try {
            commands.forEach(note)
          } catch {
            // Ours alone; the page's push has happened.
          }
          return length
        }
      }
      return last
    },
  }
}
