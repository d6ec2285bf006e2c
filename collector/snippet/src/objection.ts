// objects says whether the visitor objects to being measured: Global Privacy
// Control, or Do Not Track (honoured unless the site's tag says otherwise; the
// collector has the last word). Nothing is sent then. It is asked before every
// event, not once: the visitor may change their mind while the page is open.
export function objects(honourDnt: boolean): boolean {
  return !!navigator.globalPrivacyControl || (honourDnt && navigator.doNotTrack === '1')
}
