// A double of OneTrust (otSDKStub.js), after
// https://developer.onetrust.com/onetrust/docs/javascript-events-guide and
// https://developer.onetrust.com/onetrust/docs/javascript-api: OneTrust with
// IsAlertBoxClosed, OnConsentChanged, GetDomainData and Close, OnetrustActiveGroups,
// OptanonWrapper, and the window events OneTrustGroupsUpdated and OTConsentApplied.
// Traps: OneTrustGroupsUpdated on every load, before any choice; groups active from
// the start under the models opt-out and implied consent; C0002 as "always active";
// OneTrust as an object of settings before the script has loaded; a choice that is to
// be made anew.
{
  const options = window.double?.onetrust ?? {}
  const model = options.model ?? 'opt-in'
  const listeners = []
  let closed = false
  const optional = ['C0002', 'C0003', 'C0004']
  const status = (id) => (options.always?.includes(id) ? 'always active' : model === 'opt-in' ? 'inactive' : 'active')
  const group = (id) => ({ CustomGroupId: id, OptanonGroupId: id, Status: id === 'C0001' ? 'always active' : status(id) })
  const groups = ['C0001', ...optional].map(group)
  let active = []
  const apply = (ids) => {
    active = groups.filter((g) => g.Status === 'always active' || ids.includes(g.CustomGroupId)).map((g) => g.CustomGroupId)
    window.OnetrustActiveGroups = ',' + active.join(',') + ','
    dispatchEvent(new CustomEvent('OneTrustGroupsUpdated', { detail: active }))
    window.OptanonWrapper?.()
  }
  const choose = (ids) => {
    closed = true
    apply(ids)
    for (const listener of listeners) listener(new CustomEvent('consent.onetrust', { detail: active }))
    setTimeout(() => dispatchEvent(new Event('OTConsentApplied')))
  }
  const load = () => {
    window.OneTrust = {
      IsAlertBoxClosed: () => closed,
      IsAlertBoxClosedAndValid: () => closed && !options.lapsed,
      OnConsentChanged: (listener) => listeners.push(listener),
      GetDomainData: () => ({ ShowAlertNotice: true, ConsentModel: { Name: model }, Groups: groups }),
      Close: () => choose(model === 'opt-in' ? [] : optional),
    }
    if (options.stored) {
      closed = true
      apply(options.stored === 'accept' ? optional : [])
    } else apply(model === 'opt-in' ? [] : optional)
  }
  ;(window.visit ??= {}).onetrust = {
    accept: () => choose(optional),
    acceptOnly: (...ids) => choose(ids),
    refuse: () => choose([]),
    close: () => window.OneTrust.Close(),
    load,
  }
  if (options.settingsFirst) window.OneTrust = { geolocationResponse: { stateCode: 'NL' } }
  else load()
}
