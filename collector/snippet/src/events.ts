// Events: what the collector takes on /v1/events.

import { send } from './delivery'
import { uuidv7 } from './id'
import { Level } from './record'
import { options } from './tag'

// The page a view is of: a click or the end of the view may come when the
// address has changed already.
let here = ''

// arriveAt begins a view of an address, from pageAddress.
export function arriveAt(url: string): void {
  here = url
}

// stamp is what every event and capture has.
export function stamp(): { id: string; at: number; url: string } {
  const at = Date.now()
  return { id: uuidv7(at), at, url: here }
}

// emit sends an event. The tag may switch its kind off.
export function emit(type: string, detail: { kind?: string; [name: string]: unknown }): void {
  if (options[detail.kind || type] != 'off') send('events?r=0', type == 'page_view' ? Level.company : Level.analytics, { type, ...stamp(), ...detail })
}
