// A double of a platform of the IAB's Transparency and Consent Framework, after "CMP
// API v2" (Consent Management Platform API, TCF 2.2): window.__tcfapi, first as the
// stub that queues, with addEventListener and removeEventListener; eventStatus
// cmpuishown, useractioncomplete and tcloaded.
// Traps: the callback runs at once, before there is a choice, and again whenever the
// dialogue is opened, with the string as it was; purposes under legitimate interest;
// gdprApplies false; getTCData is deprecated and calling it is an error here.
{
  const options = window.double?.tcf ?? {}
  const strings = { accept: 'CQacceptAAAAA.YAAA', refuse: 'CQrefuseAAAAA.YAAA', ...options.strings }
  const waiting = []
  const listeners = new Map()
  let status = 'cmpuishown'
  let chosen = ''
  const data = (listenerId) => ({
    tcfPolicyVersion: 5,
    cmpId: 300,
    cmpVersion: 1,
    cmpStatus: 'loaded',
    displayStatus: status === 'cmpuishown' ? 'visible' : 'hidden',
    gdprApplies: options.gdprApplies ?? true,
    eventStatus: status,
    listenerId,
    tcString: chosen && strings[chosen],
    purpose: {
      consents: chosen === 'accept' ? { 1: true, 7: true, 8: true, 9: true, ...options.purposes } : {},
      legitimateInterests: { 7: true, 8: true, 9: true },
    },
    vendor: { consents: chosen === 'accept' ? { 755: true, ...options.vendors } : {}, legitimateInterests: { 755: true } },
  })
  const tell = () => listeners.forEach((callback, id) => callback(data(id), true))
  const commands = {
    addEventListener(callback) {
      const id = listeners.size + 1
      listeners.set(id, callback)
      callback(data(id), true)
    },
    removeEventListener: (callback, id) => callback(listeners.delete(id)),
    getTCData() {
      throw new Error('getTCData is deprecated')
    },
  }
  window.__tcfapi = (...call) => waiting.push(call)
  const load = () => {
    window.__tcfapi = (command, version, callback, parameter) => commands[command](callback, parameter)
    for (const call of waiting.splice(0)) window.__tcfapi(...call)
  }
  const act = (choice) => {
    chosen = choice
    status = 'useractioncomplete'
    tell()
  }
  ;(window.visit ??= {}).tcf = {
    accept: () => act('accept'),
    refuse: () => act('refuse'),
    reopen() {
      status = 'cmpuishown'
      tell()
    },
    load,
  }
  if (options.stored) {
    chosen = options.stored
    status = 'tcloaded'
  }
  if (!options.stub) load()
}
