// Forms: that one was begun and submitted is an event, without a value. What was
// filled in is read only from a form marked data-visitor-form, only when it is
// submitted, only with its own box ticked, and only the fields that are marked;
// the collector takes those of the form's policy. The submission itself is never
// held up.

import { send } from './delivery'
import { emit, stamp } from './events'
import { on } from './quiet'
import { Level, token } from './record'

export interface Capture {
  form: string
  fields: Record<string, unknown>
  text_version: string | undefined
}

type Field = HTMLInputElement

// What is never read, by type and by name. Boxes have no value worth reading.
const sealed = /^(hid|file|ch|rad)|(pass|wacht)w|pwd|(\b|_)(pin|cc)|card|kaart|cv[cv]|iban|rekening|account.?nu|bsn|burgers|ssn/i

// read takes the marked fields of a marked form, when its own box is ticked. One
// the page itself has ticked is nobody's consent.
const read = (form: HTMLFormElement): Capture | undefined => {
  const fields: Capture['fields'] = {}
  const all = [...form.elements] as Field[]
  const box = all.find((f) => f.dataset.visitorConsent)
  if (box?.checked && !box.defaultChecked) {
    for (const f of all) {
      const name = f.dataset.visitorField
      if (name != null && !sealed.test([f.type, f.name, f.id, f.autocomplete] + '')) fields[name || f.name] = f.value
    }
    return { form: form.dataset.visitorForm!, text_version: box.dataset.visitorConsent, fields }
  }
  return
}

// What was captured last, so that a form sent twice, or by two clicks, is captured once.
let last = ''

// capture sends the fields of a form, or those the page read itself.
export const capture = (from: HTMLFormElement | Capture): void => {
  const post = (from as HTMLFormElement).elements ? read(from as HTMLFormElement) : (from as Capture)
  if (!post) return send('captures', Level.box, {})
  if (last == (last = JSON.stringify(post))) return
  const { form, text_version } = post
  const fields = { ...post.fields }
  for (const name in fields) if (sealed.test(',' + name)) delete fields[name]
  send('captures', Level.company, { ...stamp(), form, sent_at: Date.now(), consent: { given: true, text_version }, token, fields })
}

// Attributes, not properties: a form's field called "name" hides its name.
const act = (action: string, form: HTMLFormElement): void => {
  const name = form.dataset.visitorForm || form.getAttribute('name') || form.getAttribute('id')
  if (name) emit('form', { action, form: name })
}

export const watchForms = (): void => {
  const begun = new Set<unknown>()
  on('input', (e) => {
    const { form } = e.target as Field
    if (form && !begun.has(form)) act('start', form)
    begun.add(form)
  })
  // Last of all listeners: a page that sends the form by itself has said so by
  // now, and calls visitor('capture', …) when it has.
  on('submit', (e) => {
    const form = e.target as HTMLFormElement
    act('submit', form)
    if (form.dataset.visitorForm && !e.defaultPrevented) capture(form)
  })
}
