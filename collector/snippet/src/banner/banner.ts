// The banner: a question, two equal buttons, and a link to what it is about. It
// covers nothing but its own strip, takes no focus unasked, and does not ask twice for the
// same text. A file of its own, which the core loads where the tag has data-banner.

import { on, quietly } from '../quiet'

interface Commands {
  grant(terms: object): void
  deny(terms: object): void
}

// The text visitors agree to; docs/snippet.md has it for registering. A change of
// it is another text version.
const words = {
  nl: {
    text: 'Mogen wij met een willekeurig nummer in uw browser zien hoe u deze site gebruikt en of u terugkomt? U kunt dit altijd intrekken.',
    yes: 'Ja, dat mag',
    no: 'Nee, liever niet',
    more: 'Meer over privacy',
    label: 'Toestemming',
  },
  en: {
    text: 'May we see, by a random number in your browser, how you use this site and whether you return? You can withdraw at any time.',
    yes: 'Yes, you may',
    no: 'No, thank you',
    more: 'More about privacy',
    label: 'Consent',
  },
}

let bar: HTMLElement | undefined

function put<K extends keyof HTMLElementTagNameMap>(parent: HTMLElement, name: K, text: string): HTMLElementTagNameMap[K] {
  const element = document.createElement(name)
  element.append(text, ' ')
  parent.append(element, ' ')
  return element
}

// show puts the banner on the page, anew if it is there. Style is set property by
// property, which a strict Content-Security-Policy allows; colours and fonts are
// those of a dialog and of buttons in the page's own style, so that it looks like
// the site's, in light and in dark.
export default function show(options: DOMStringMap, { grant, deny }: Commands): void {
  if (!options.textVersion) {
    // Nobody can agree to a text without a version.
    if (options.debug != null) console.log('visitor: banner dropped no data-text-version')
    return
  }
  const page = document.documentElement
  const lang = /^nl/.test(options.banner || page.lang) ? 'nl' : 'en'
  const { text, yes, no, more, label } = words[lang]
  bar?.remove()
  // Beside the body: applications that build the body anew leave it alone.
  const dialog = (bar = put(page, 'dialog', text))
  dialog.style.cssText = 'position:fixed;inset:auto 0 1em;z-index:2147483647;max-width:40em;max-height:90vh;overflow:auto;box-sizing:border-box'
  // The letters of the body, which is not around it: once the page is drawn, and its
  // style is there. A page may still be in its head.
  const dress = (): void => quietly(() => (dialog.style.font = getComputedStyle(document.body).font))
  if (document.body) requestAnimationFrame(dress)
  else on('DOMContentLoaded', dress)
  dialog.lang = lang
  dialog.setAttribute('aria-label', label)
  dialog.open = true
  if (options.privacy) put(dialog, 'a', more).href = options.privacy
  // Beside each other, or each on a line of its own: never one after the text.
  const answers = put(dialog, 'div', '')
  answers.style.cssText = 'display:flex;flex-wrap:wrap;gap:.75em;margin-top:.75em'
  for (const answer of [yes, no]) {
    const button = put(answers, 'button', answer)
    button.type = 'button'
    button.style.cssText = 'flex:1;min-width:10em;min-height:44px'
    const press = (): void => {
      dialog.remove()
      const terms = { claim: { source: 'banner' } }
      if (answer === yes) grant(terms)
      else deny(terms)
    }
    on('click', press, button)
  }
  // Whoever asks for it by a link of the page goes on from here, at its beginning.
  dialog.tabIndex = -1
  if (document.activeElement?.getAttribute('href') === '#visitor-show') dialog.focus()
}
