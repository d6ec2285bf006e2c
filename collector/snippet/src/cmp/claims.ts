import type { Answer, Page, Statement } from './adapter'

// What the core offers as visitor.ready: its commands by name.
export interface Commands {
  grant(terms: Terms): void
  deny(terms: Terms): void
  withdraw(): void
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
// refuses, and a yes counts when there is none. It is the command
// visitor('consent', 'cmp', …), also for platforms a site adapts by itself.
export function claims(core: Commands, preferred?: string): (said: Said) => void {
  const heard: Record<string, Said> = {}
  const saying = (answer: Answer): Said[] => Object.values(heard).filter((s) => s.analytics === answer)

  const terms = ({ source, raw, text_version }: Said): Terms => ({
    claim: source === 'tcf' ? { source, raw } : { source: 'cmp', cmp: source, raw },
    ...(text_version && { text_version }),
  })

  return (said) => {
    const { source, analytics } = said
    const before = heard[source]
    if (before?.analytics === analytics) return
    const refused = !!saying(false)[0]
    heard[source] = said
    if (analytics === false) {
      if (refused) return
      // A refusal is recorded when the visitor has just made it: a source that begins
      // with a no repeats one of an earlier page. Whether a TC string refuses is the
      // collector's to read; so where there may be a grant, the grant is taken back.
      const granted = before?.analytics || saying(true)[0]
      if (!before || source === 'consent_mode' || (source === 'tcf' && granted)) core.withdraw()
      else core.deny(terms(said))
    } else if (!saying(false)[0]) {
      const agreed = saying(true).filter((s) => s.source !== 'consent_mode')
      // The platform the site has registered speaks first: no other is granted to.
      const first = agreed.find((s) => s.source === preferred) || agreed[0]
      if (first) core.grant(terms(first))
    }
  }
}

// register adds the command to the core's, where it has none of its own.
export function register(page: Page, preferred?: string): void {
  const core = page.visitor.ready
  if (typeof core?.grant === 'function') core.cmp ||= claims(core, preferred)
}
