// What may leave the page about its own address. The collector strips the same
// things again; doing it here keeps reset tokens, e-mail addresses and search
// words from being sent at all.

import { options } from './tag'

let path = ''
let inner = ''

// route is the path by which a view is told from the one before it. Where the
// application routes by its fragment (data-hash), "#/path" is part of it; any
// other fragment is not, for it may hold a token.
export const route = (): string => {
  const { pathname, hash } = location
  const found = /^#!?(\/[^?]*)|^$/.exec(hash)
  // An anchor within the page leaves the route as it is.
  if (options.hash != null && (found || path != pathname)) inner = found?.[1] || ''
  return (path = pathname) + inner
}

// pageAddress is the page's address, reduced to scheme, host, path and the
// campaign: no other query, no fragment.
export const pageAddress = (): string =>
  location.origin + route() + location.search.replace(/[?&](?!utm_(source|medium|campaign)=)[^&]*/g, '').replace(/^&/, '?')
