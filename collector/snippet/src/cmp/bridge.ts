// The command visitor('consent', 'cmp', …): what the sources of a page say becomes
// one of the core's own commands. Of several sources the most restrictive counts.

export interface Statement {
  source: string
  // null: the visitor has not chosen yet.
  analytics: boolean | null
  raw?: string
  text_version?: string
}

interface Terms {
  claim: { source: string; cmp?: string; raw?: string | undefined }
  text_version?: string | undefined
}

// Commands are the core's: visitor.ready.
export interface Commands {
  grant(terms: Terms): void
  deny(terms: Terms): void
  withdraw(): void
  token(token?: string): void
  cmp?: (statement: Statement) => void
}

// connect gives the core the command.
export function connect(commands: Commands): void {
  if (commands.cmp) return
  const said: Record<string, boolean | null> = {}
  const agreed: Record<string, Terms> = {}
  commands.cmp = ({ source, analytics, raw, text_version }) => {
    const before = said[source]
    said[source] = analytics
    const claim = source === 'tcf' ? { source, raw } : { source: 'cmp', cmp: source, raw }
    // Google Consent Mode is a hint: it takes a grant out of use, and neither
    // makes one nor takes it back.
    if (source !== 'consent_mode') {
      delete agreed[source]
      if (analytics) agreed[source] = { claim, text_version }
      // A refusal that stood when the page came was recorded when it was made.
      if (analytics === false && before === undefined) commands.withdraw()
      else if (analytics === false && before !== false) commands.deny({ claim, text_version })
    }
    const [terms] = Object.values(agreed)
    if (Object.values(said).includes(false)) commands.token()
    else if (terms) commands.grant(terms)
  }
}
