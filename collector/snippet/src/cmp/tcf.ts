import { type Adapter, type Statement } from './adapter'

// rawCharsMax is the longest TC string the collector reads.
const rawCharsMax = 2048

interface TCData {
  gdprApplies?: boolean
  eventStatus?: string
  tcString?: string
  purpose?: { consents?: Record<string, boolean> }
  vendor?: { consents?: Record<string, boolean> }
}

// IAB TCF v2.2: CMP API v2, addEventListener (getTCData is deprecated).
// The callback runs at once, with whatever there is, and whenever the dialogue is
// opened again: only tcloaded and useractioncomplete carry a choice. Legitimate
// interest never counts. The collector decodes the string and has the last word;
// purposes 1 and 8 or 9 here say only whether there is something to exchange.
export const tcf: Adapter = (page, { vendor }, changed) => {
  let subscribed = false
  let last: Statement | undefined
  const heard = (data?: TCData, success?: boolean): void => {
    if (!success || !data) return
    const { tcString = '', eventStatus = '' } = data
    if (data.gdprApplies === false || tcString.length > rawCharsMax) {
      last = undefined
    } else if (tcString && /^(tcloaded|useractioncomplete)$/.test(eventStatus)) {
      const purposes = data.purpose?.consents || {}
      const known = !vendor || !!data.vendor?.consents?.[vendor]
      last = { analytics: !!(purposes[1] && (purposes[8] || purposes[9]) && known), raw: tcString }
    } else {
      last ||= { analytics: null, raw: '' }
    }
    changed()
  }
  return {
    source: 'tcf',
    read() {
      if (!subscribed && typeof page.__tcfapi === 'function') {
        subscribed = true
        page.__tcfapi('addEventListener', 2, heard)
      }
      return last
    },
  }
}
