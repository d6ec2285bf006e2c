// What may leave the page about its own address. The collector strips the same
// things again; doing it here keeps reset tokens, e-mail addresses and search
// words from being sent at all.

const campaignParameters = ['utm_source', 'utm_medium', 'utm_campaign']

// Twenty events of this length stay under the collector's 64 KiB.
const urlCharsMax = 2048

// pageAddress reduces an absolute URL to scheme, host, path and the listed
// campaign parameters: no credentials, no other query, no fragment.
export function pageAddress(href: string): string {
  const u = new URL(href)
  const kept = new URLSearchParams()
  for (const name of campaignParameters) {
    const value = u.searchParams.get(name)
    if (value) kept.set(name, value.slice(0, 128))
  }
  const query = kept.toString()
  return u.origin + u.pathname.slice(0, urlCharsMax / 2) + (query && '?' + query)
}

// referrerAddress reduces a referrer to its origin; the path of somebody
// else's page is none of ours.
export function referrerAddress(href: string): string | undefined {
  try {
    const u = new URL(href)
    return /^https?:$/.test(u.protocol) ? u.origin + '/' : undefined
  } catch {
    return undefined
  }
}
