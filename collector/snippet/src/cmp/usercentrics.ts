import { type Adapter, type Answer, type Statement, all, matcher, statement } from './adapter'

interface Service {
  name: string
  answer: Answer
}

// Usercentrics: v3 https://usercentrics.com/docs/web/features/api/ (__ucCmp), v2
// https://usercentrics.com/docs/web/v2/ (UC_UI). Its events come on every load,
// with the defaults before a choice and outside the European Union: these are
// implicit. A service that is essential is no choice.
export const usercentrics: Adapter = (page, { category }, changed) => {
  const wanted = matcher(category)
  let details: Record<string, any> | undefined
  let asked = false

  const answer = (given: boolean, type: unknown): Answer => (/^explicit$/i.test(String(type)) ? !!given : null)

  // v3 answers by a promise; what it has answered is read next time.
  const ask = (): void => {
    if (asked) return
    asked = true
    Promise.resolve(page.__ucCmp.getConsentDetails()).then(
      (d) => {
        details = d
        changed()
      },
      () => undefined, // it will say when it has started
    )
  }
  const latest = (event: Event): void => {
    asked = false
    if ((event as CustomEvent).detail?.services) details = (event as CustomEvent).detail
  }
  for (const name of ['UC_CONSENT', 'UC_UI_CMP_EVENT', 'UC_UI_INITIALIZED']) page.addEventListener(name, latest, true)

  const services = (): Service[] | undefined => {
    if (page.__ucCmp) {
      ask()
      return (
        details &&
        Object.entries<Record<string, any>>(details.services)
          .filter(([id, s]) => !s.essential && [id, s.name, s.category].some(wanted))
          .map(([, s]) => ({ name: s.name, answer: answer(s.consent?.given, s.consent?.type) }))
      )
    }
    if (!page.UC_UI?.isInitialized?.()) return undefined
    return (page.UC_UI.getServicesBaseInfo() as Record<string, any>[])
      .filter((s) => !s.isEssential && [s.id, s.name, s.categorySlug].some(wanted))
      .map((s) => ({ name: s.name, answer: answer(s.consent.status, s.consent.history.slice(-1)[0]?.type) }))
  }

  return {
    source: 'usercentrics',
    events: ['UC_CONSENT', 'UC_UI_CMP_EVENT', 'UC_UI_INITIALIZED'],
    read(): Statement | undefined {
      const found = services()
      if (!found?.length) return undefined
      return statement(all(found.map((s) => s.answer)), found.map((s) => s.name + '=' + s.answer).join())
    },
  }
}
