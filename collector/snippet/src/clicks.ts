// Clicks: outbound links and downloads are events; a link to #visitor-optout,
// #visitor-show or #visitor-withdraw is a command.

import { emit } from './events'
import { on } from './quiet'

const files = /\.(pdf|(doc|xls|ppt)x?|csv|zip|exe|dmg|mp[34])$/i

export const watchClicks = (run: (command: string) => void): void => {
  const clicked = (e: MouseEvent): void => {
    const a = (e.target as Element).closest<HTMLAnchorElement>('a[href]')!
    const command = /^#visitor-(\w+)/.exec(a.hash)
    const file = a.hasAttribute('download') || files.test(a.pathname)
    if (command) {
      e.preventDefault()
      run(command[1]!)
    } else if (a.host && (file || a.host != location.host)) {
      emit('click', { kind: file ? 'download' : 'outbound', target: a.origin + (file ? a.pathname : '') })
    }
  }
  on('click', clicked)
  // The middle button opens a link too; the right one does not.
  on<MouseEvent>('auxclick', (e) => e.button > 1 || clicked(e))
}
