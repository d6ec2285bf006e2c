import { type Adapter, statement } from './adapter'

// OneTrust: https://developer.onetrust.com/onetrust/docs/javascript-events-guide
// OneTrustGroupsUpdated comes on every load, before any choice too, and under
// opt-out or implied consent the group is active from the start: the banner must
// have been closed, and the consent model must be opt-in, for a yes. A group that is
// always active is no choice either.
export const onetrust: Adapter = (page, { category = 'C0002' }, changed) => {
  let subscribed = false
  return {
    source: 'onetrust',
    events: ['OneTrustGroupsUpdated', 'OTConsentApplied'],
    read() {
      const trust = page.OneTrust
      const groups = String(page.OnetrustActiveGroups || '').split(',').filter(Boolean)
      // Before the script has loaded, OneTrust may be an object of settings.
      if (typeof trust?.IsAlertBoxClosed !== 'function' || !groups.length) return undefined
      if (!subscribed) {
        subscribed = true
        trust.OnConsentChanged?.(changed)
      }
      const raw = groups.join()
      // A choice that has lapsed, so that the banner is there again, is none.
      if (!trust.IsAlertBoxClosed() || trust.IsAlertBoxClosedAndValid?.() === false) return statement(null, raw)
      if (!groups.includes(category)) return statement(false, raw)
      const domain = trust.GetDomainData()
      const group = domain.Groups.find((g: { CustomGroupId: string }) => g.CustomGroupId === category)
      const chosen = domain.ConsentModel.Name.toLowerCase() === 'opt-in' && !/always/i.test(group?.Status)
      return statement(chosen || null, raw)
    },
  }
}
