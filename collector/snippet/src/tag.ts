// Tag is what the script learns from its own element:
// <script async src="https://host/v1/s.js" data-site="pk_..."></script>
export interface Tag {
  site: string
  // The collector's address, beside the script's own: /v1/s.js → /v1/events.
  endpoint: string
  honourDnt: boolean
}

// readTag must run while the script is being evaluated: currentScript is null
// afterwards. It is also null for a script whose text was pasted into the page
// or run by a tag manager, hence the search by attribute.
export function readTag(): Tag | undefined {
  const element = (document.currentScript || document.querySelector('script[data-site][src]')) as HTMLScriptElement | null
  const site = element?.dataset.site
  if (!element || !site || !element.src) return undefined
  return {
    site,
    endpoint: new URL('events', element.src).href,
    honourDnt: element.dataset.dnt !== 'ignore',
  }
}
