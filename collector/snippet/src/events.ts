// Events: what the collector takes on /v1/events.

import { pageAddress } from './address'
import { send } from './delivery'
import { uuidv7 } from './id'
import { Level } from './record'
import { options } from './tag'

// The page a view is of: a click or the end of the view may come when the
// address has changed already.
let here = ''

// arrive begins a view.
export const arrive = (): void => {
  here = pageAddress()
}

// stamp is what every event and capture has.
export const stamp = (at = Date.now()): { id: string; at: number; url: string } => ({ at, id: uuidv7(at), url: (here = here || pageAddress()) })

// emit sends an event. The tag may switch its kind off.
export const emit = (type: string, detail: { kind?: string; [name: string]: unknown }): void => {
  if (options[detail.kind || type] != 'off') send('events?r=0', type == 'page_view' ? Level.company : Level.analytics, { type, ...stamp(), ...detail })
}
