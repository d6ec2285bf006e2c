import { choice, level, refresh } from './record'
import { beside, options, readTag } from './tag'
import { watchViews } from './views'
import { handOver, retry } from './delivery'
import { capture, watchForms } from './forms'
import { on, quietly } from './quiet'
import { emit, stamp } from './events'
import { leave, look, seen } from './engagement'
import { deny, grant, object, resume, supply, withdraw } from './consent'
import { watchClicks } from './clicks'

// The one global: visitor(command, ...arguments). Calls made before the script
// has loaded wait in visitor.q, when the page defines the usual stub:
// window.visitor = window.visitor || function () { (visitor.q = visitor.q || []).push(arguments) }
type Command = (...args: any[]) => void
type Stub = Command & { q?: [][]; ready?: unknown; nodeType?: number }

// load fetches a file of ours that few pages need. Under a policy that forbids it
// nothing happens.
const load = (name: string): void => {
  import(beside(name + '.js') as unknown as string).then((module) => module.default(options, commands)).catch(() => {})
}

const commands: Record<string, Command> = {
  consent: (action: string, value: unknown) => commands[action]!(value),
  deny,
  grant,
  withdraw,
  show: () => load('banner'),
  token: supply,
  // A custom event, with the properties the tag lists.
  event(name: string, given: Record<string, unknown> = {}) {
    const props: Record<string, string> = {}
    options.props?.split(' ').forEach((key) => {
      if (/st|nu|oo/.test(typeof given[key])) props[key] = ('' + given[key]).slice(0, 256)
    })
    emit('custom', { name, props })
  },
  capture,
  optin: () => object(),
  optout: () => object(true),
}

const visitor: Stub = (command, ...args) => quietly(() => commands[command]!(...args))

// later gives each part of the start a task of its own: in a browser that has just
// started, what is used for the first time takes milliseconds.
const watch = (): void => {
  // The first id takes longest.
  stamp()
  setTimeout(() => quietly(watchViews))
  watchClicks(visitor)
  watchForms()
  on('pagehide', goodbye)
  on('storage', refresh)
  on('online', retry)
  on('visibilitychange', () => (document.hidden ? goodbye() : seen()))
  on('scroll', look)
  if (options.banner != null && level() && choice.text_version != (options.textVersion || 0)) commands.show!()
  if (options.cmp && options.cmp != 'off') load('cmp')
}

const goodbye = (): void => {
  leave()
  handOver()
}

const start = (before = window.visitor as Stub | undefined): void => {
  if (!readTag() || before?.ready) return
  visitor.ready = commands
  // What waits in the queue is under the choice of an earlier page, and of this page.
  if ((options.consent ?? options.banner ?? options.cmp) != null) quietly(resume)
  // A page that has something else by this name keeps it. The stub is known by its
  // text: it has no queue until it is called.
  if (!before || before.nodeType || /\.q/.test('' + before)) {
    window.visitor = visitor
    before?.q?.forEach((args) => visitor(...args))
  }
  // A page prerendered for a visitor who never comes is not a view.
  if (document.prerendering) on('prerenderingchange', watch, document)
  else setTimeout(() => quietly(watch))
}

quietly(start)
