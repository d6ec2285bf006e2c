import { newDelivery } from './delivery'
import { objects } from './objection'
import { readTag } from './tag'
import { quietly, watchViews } from './views'

// The one global: visitor(command, ...arguments). Calls made before the script
// has loaded wait in visitor.q, when the page defines the usual stub:
// window.visitor = window.visitor || function () { (visitor.q = visitor.q || []).push(arguments) }
type Command = (...args: unknown[]) => void
type Stub = Command & { q?: ArrayLike<unknown>[]; ready?: boolean }

const tokenCharsMax = 4096

function start(): void {
  const tag = readTag()
  const before = window.visitor as Stub | undefined
  if (!tag || before?.ready) return

  const objected = (): boolean => objects(tag.honourDnt)
  const delivery = newDelivery(tag.site, tag.endpoint, objected)

  const visitor: Stub = (...args) =>
    quietly(() => {
      const [command, action, value] = args
      // A grant is proven by a token the collector signed; the page hands it
      // over and it lives as long as the document. Anything else takes it away.
      if (command === 'consent') {
        delivery.setConsent(
          action === 'token' && typeof value === 'string' && value.length <= tokenCharsMax ? value : undefined,
        )
      }
    })
  visitor.ready = true
  // A page that has something else by this name keeps it.
  if (!before || before.q || before instanceof Element) {
    window.visitor = visitor
    for (const args of before?.q || []) visitor(...Array.from(args))
  }

  addEventListener('online', () => quietly(delivery.retry))
  addEventListener('pagehide', () => quietly(delivery.handOver))
  const watch = (): void => quietly(() => watchViews(delivery, objected))
  // A page prerendered for a visitor who never comes is not a view.
  if (document.prerendering) document.addEventListener('prerenderingchange', watch, { once: true })
  else watch()
}

quietly(start)
