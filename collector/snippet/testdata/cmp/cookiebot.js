// A double of Cookiebot (uc.js), after https://www.cookiebot.com/en/developer/:
// window.Cookiebot with consent, hasResponse, renew and withdraw, and the window
// events CookiebotOnConsentReady, CookiebotOnAccept and CookiebotOnDecline.
// Traps: the object, and CookiebotOnConsentReady, before any choice; consent by
// scrolling (method "implied", with hasResponse); OnAccept again on every load.
{
  const options = window.double?.cookiebot ?? {}
  const fire = (name) => dispatchEvent(new Event(name))
  const bot = (window.Cookiebot = {
    consent: { necessary: true, preferences: false, statistics: false, marketing: false, method: null, stamp: '0' },
    consented: false,
    declined: false,
    hasResponse: false,
    renew() {
      Object.assign(bot.consent, { preferences: false, statistics: false, marketing: false, method: null })
      Object.assign(bot, { consented: false, declined: false, hasResponse: false })
      fire('CookiebotOnDialogInit')
    },
    withdraw() {
      choose({ preferences: false, statistics: false, marketing: false })
    },
  })
  const choose = (consent, method = 'explicit') => {
    Object.assign(bot.consent, consent, { method })
    bot.consented = consent.statistics || consent.marketing
    bot.declined = !bot.consented
    bot.hasResponse = true
    fire('CookiebotOnConsentReady')
    fire(bot.consented ? 'CookiebotOnAccept' : 'CookiebotOnDecline')
  }
  const visit = {
    accept: () => choose({ preferences: true, statistics: true, marketing: true }),
    acceptMarketingToo: (marketing) => choose({ preferences: true, statistics: true, marketing }),
    refuse: () => choose({ preferences: false, statistics: false, marketing: false }),
    scroll: () => choose({ preferences: true, statistics: true, marketing: true }, 'implied'),
  }
  ;(window.visit ??= {}).cookiebot = visit
  fire('CookiebotOnLoad')
  if (options.stored) visit[options.stored]()
  else fire('CookiebotOnConsentReady')
}
