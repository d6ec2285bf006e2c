// What the script learns from its own element:
// <script async src="https://host/v1/s.js" data-site="pk_..."></script>

// The element's data attributes, and its address.
export let options: DOMStringMap = {}
let source = ''

// readTag must run while the script is being evaluated: currentScript is null
// afterwards. Nothing is looked for by its attribute: other scripts have a data-site
// too, and would be taken for ours.
export const readTag = (): unknown => {
  ;({ dataset: options, src: source } = document.currentScript as HTMLScriptElement)
  return options.site && source
}

// beside is the address of something beside the script: /v1/s.js → /v1/events.
export const beside = (name: string): URL => new URL(name, source)

// tell prints what became of something, where the tag asks for it.
export const tell = (...what: unknown[]): void => {
  if (options.debug != null) console.log('visitor:', ...what)
}
