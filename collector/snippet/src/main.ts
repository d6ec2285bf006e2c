import { watchClicks } from './clicks'
import { deny, grant, object, resume, withdraw } from './consent'
import { handOver, retry } from './delivery'
import { leave, look, measure, seen } from './engagement'
import { emit } from './events'
import { capture, watchForms } from './forms'
import { on, quietly } from './quiet'
import { choice, level, refresh, useToken } from './record'
import { beside, options, readTag } from './tag'
import { watchViews } from './views'

// The one global: visitor(command, ...arguments). Calls made before the script
// has loaded wait in visitor.q, when the page defines the usual stub:
// window.visitor = window.visitor || function () { (visitor.q = visitor.q || []).push(arguments) }
type Command = (...args: any[]) => void
type Stub = Command & { q?: [][]; ready?: unknown; nodeType?: number }

// load fetches a file of ours that few pages need. Under a policy that forbids it
// nothing happens.
function load(name: string, then?: (module: any) => void): void {
  import(beside(name + '.js')).then(then).catch(() => {})
}

const commands: Record<string, Command> = {
  consent: (action: string, value: unknown) => commands[action]!(value),
  grant,
  deny,
  withdraw,
  show: () => load('banner', (m) => m.default(options, commands)),
  // A token the site got by itself lives as long as the document.
  token(token: unknown) {
    useToken(typeof token === 'string' ? token : undefined)
    measure()
  },
  // A custom event, with the properties the tag lists.
  event(name: string, given: Record<string, unknown> = {}) {
    const props: Record<string, string> = {}
    options.props?.split(' ').forEach((key) => {
      if (typeof (given[key] ?? given) !== 'object') props[key] = ('' + given[key]).slice(0, 500)
    })
    emit('custom', { name, props })
  },
  capture,
  optout: () => object(true),
  optin: () => object(),
}

const visitor: Stub = (command, ...args) => quietly(() => commands[command]!(...args))

function watch(): void {
  if ((options.consent ?? options.banner ?? options.cmp) != null) resume()
  watchViews()
  watchClicks(visitor)
  watchForms()
  if (options.banner != null && level() && choice.text_version !== options.textVersion) commands.show!()
  if (options.cmp && options.cmp !== 'off') load('cmp')
}

function goodbye(): void {
  leave()
  handOver()
}

function start(): void {
  const before = window.visitor as Stub | undefined
  if (!readTag() || before?.ready) return
  visitor.ready = commands
  // A page that has something else by this name keeps it. The stub is known by its
  // text: it has no queue until it is called.
  if (!before || before.nodeType || /\.q/.test('' + before)) {
    window.visitor = visitor
    before?.q?.forEach((args) => visitor(...args))
  }
  on('online', retry)
  on('storage', refresh)
  on('pagehide', goodbye)
  on('visibilitychange', () => (document.hidden ? goodbye() : seen()))
  on('scroll', look)
  // A page prerendered for a visitor who never comes is not a view.
  if (document.prerendering) on('prerenderingchange', watch, document)
  else watch()
}

quietly(start)
