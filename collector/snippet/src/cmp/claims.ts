import type { Answer, Page, Statement } from './adapter'

// What the core offers as visitor.ready: its commands by name.
export interface Commands {
  grant(terms: Terms): void
  deny(terms: Terms): void
  withdraw(): void
  // Without a token: takes the one in use out of use, and keeps it.
  token(): void
  cmp?: unknown
}

interface Terms {
  claim: { source: string; cmp?: string; raw: string }
  text_version?: string
}

export interface Said extends Statement {
  source: string
  text_version?: string
}

// claims makes what several sources say into what the visitor wants: one refusal
// refuses, and a yes counts when there is none. Where the tag names a platform only
// that one's yes counts, as the collector grants to no other. It is the command
// visitor('consent', 'cmp', …), also for platforms a site adapts by itself.
export function claims(core: Commands, named?: string): (said: Said) => void {
  const heard: Record<string, Said> = {}
  const saying = (answer: Answer): Said[] => Object.values(heard).filter((s) => s.analytics === answer)
  // Whose yes the core has been told, until it is told a no.
  let granted: string | undefined

  // A TC string says itself which text was shown.
  const terms = ({ source, raw, text_version }: Said): Terms =>
    source === 'tcf'
      ? { claim: { source, raw }, text_version: 'tcf' }
      : { claim: { source: 'cmp', cmp: source, raw }, ...(text_version && { text_version }) }

  return (said) => {
    const { source, analytics } = said
    const before = heard[source]
    if (before?.analytics === analytics) return
    const refused = saying(false).some((s) => s.source !== 'consent_mode')
    heard[source] = said
    // No choice yet, or none any more: a grant of an earlier page is not used on this
    // one, until there is a yes again. It may have lapsed, or been reset elsewhere.
    if (analytics === null && !before && !granted && (!named || source === named)) core.token()
    if (analytics === false) {
      // A hint takes a grant out of use, and neither makes one nor takes it back.
      if (source === 'consent_mode') core.token()
      else if (refused) return
      // A refusal is recorded when the visitor has just made it: a source that begins
      // with a no repeats one of an earlier page. Whether a TC string refuses is the
      // collector's to read, so what may be held is taken back without it.
      else {
        const isString = source === 'tcf'
        if (!before || isString) core.withdraw()
        if (before && !(isString && granted)) core.deny(terms(said))
      }
      granted = undefined
    } else if (!saying(false)[0]) {
      const agreed = saying(true).filter((s) => s.source !== 'consent_mode' && (!named || s.source === named))
      const first = agreed.find((s) => s.source !== 'tcf') || agreed[0]
      if (!first || first.source === granted) return
      granted = first.source
      core.grant(terms(first))
    }
  }
}

// register adds the command to the core's, where it has none of its own.
export function register(page: Page, named?: string): void {
  const core = page.visitor.ready
  if (typeof core?.grant === 'function') core.cmp ||= claims(core, named === 'auto' ? '' : named)
}
