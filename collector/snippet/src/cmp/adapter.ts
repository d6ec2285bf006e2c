// An adapter reads one consent platform through the platform's own interface, and
// nothing else: no cookie and no storage of the device is read here.

// Answer is what the visitor chose for analytics; null while they have not chosen,
// and for a platform that takes silence for consent.
export type Answer = boolean | null

export interface Statement {
  analytics: Answer
  // The signal as the platform has it, kept in the consent record.
  raw: string
}

// Page is the window as a platform leaves it: any name may be missing or be
// something else. A read that fails over it counts as no statement.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Page = Record<string, any>

// Options are attributes of the snippet's tag.
export interface Options {
  // data-cmp-category: the platform's name for what the site calls analytics.
  category?: string
  // data-cmp-vendor: the site's vendor in a TC string.
  vendor?: string
}

export interface Platform {
  source: string
  // DOM events after which the state is read again. They are only a signal to look:
  // most of them are also fired before any choice.
  events?: string[]
  // read returns undefined while the platform is not there, or has nothing to say.
  // It may be called at any time, and subscribes by itself when it finds one.
  read(): Statement | undefined
}

// changed asks for another read, soon and once.
export type Adapter = (page: Page, options: Options, changed: () => void) => Platform

// rawCharsMax is what the collector keeps of a platform's categories.
const rawCharsMax = 512

// inCharset reduces a signal to the characters a consent record may hold.
const inCharset = (raw: string): string => raw.replace(/[^\w\-,;= ]/g, '').slice(0, rawCharsMax)

export const statement = (analytics: Answer, raw: string): Statement => ({ analytics, raw: inCharset(raw) })

// flags writes the yes and no of an object: "statistics=1,marketing=0".
export const flags = (of: object): string =>
  Object.entries(of)
    .filter(([, value]) => typeof value === 'boolean')
    .map(([name, value]) => name + '=' + +value)
    .join()

// matcher finds the names that mean analytics where a site may call them anything.
export const matcher =
  (category?: string) =>
  (name: unknown): boolean =>
    category ? name === category : /^(analytics|statistics|performance)$/i.test(String(name))

// all combines what several services say: one refusal refuses, and one without a
// choice leaves no choice.
export const all = (answers: Answer[]): Answer =>
  answers.includes(false) ? false : answers.includes(null) || !answers.length ? null : true
