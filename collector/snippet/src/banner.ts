// The banner: a question, two equal buttons, and a link to what it is about. It
// covers nothing but its own strip, takes no focus, and asks once.

import { deny, grant } from './consent'
import { choice, keep } from './record'
import { on } from './quiet'
import { options } from './tag'

// The text visitors agree to; docs/snippet.md has it for registering. A change of
// it is another text version.
const words = {
  nl: ['Mogen wij met een nummer in uw browser zien hoe u deze site gebruikt? Intrekken kan altijd.', 'Ja', 'Nee'],
  en: ['May we see, by a number in your browser, how you use this site? You can withdraw at any time.', 'Yes', 'No'],
}

let bar: HTMLElement | undefined

function put<K extends keyof HTMLElementTagNameMap>(parent: HTMLElement, name: K, text: string): HTMLElementTagNameMap[K] {
  const element = document.createElement(name)
  element.append(text, ' ')
  parent.append(element, ' ')
  return element
}

// showBanner uses what the browser and the page's own style make of a dialog and
// its buttons: they look like the site's, in light and dark, and both the same.
export function showBanner(): void {
  // Beside the body: applications that build the body anew leave it alone.
  const page = document.documentElement
  const lang = /^nl/.test(options.banner || page.lang) ? 'nl' : 'en'
  const [text, ...answers] = words[lang]
  bar?.remove()
  const dialog = (bar = put(page, 'dialog', text!))
  dialog.style.cssText = 'position:fixed;inset:auto 0 1em;z-index:9999'
  dialog.lang = lang
  dialog.ariaLabel = 'Privacy'
  dialog.open = true
  if (options.privacy) put(dialog, 'a', 'Privacy').href = options.privacy
  answers.forEach((answer, no) =>
    on(
      'click',
      () => {
        dialog.remove()
        const terms = { claim: { source: 'banner' } }
        if (no) {
          deny(terms)
          keep({ ...choice, text_version: options.textVersion })
        } else grant(terms)
      },
      put(dialog, 'button', answer),
    ),
  )
}
