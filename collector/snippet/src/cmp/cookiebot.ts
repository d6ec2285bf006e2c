import { type Adapter, flags, statement } from './adapter'

// Cookiebot: https://www.cookiebot.com/en/developer/
// The object and CookiebotOnConsentReady are there before any choice: hasResponse
// tells. consent.method is "implied" where scrolling or an old cookie counted.
export const cookiebot: Adapter = (page, { category = 'statistics' }) => ({
  source: 'cookiebot',
  events: ['CookiebotOnConsentReady', 'CookiebotOnAccept', 'CookiebotOnDecline'],
  read() {
    const bot = page.Cookiebot
    const consent = bot?.consent
    if (!consent) return undefined
    const raw = flags(consent) + ',method=' + consent.method
    if (!bot.hasResponse) return statement(null, raw)
    if (!consent[category]) return statement(false, raw)
    return statement(consent.method === 'explicit' || null, raw)
  },
})
