// Checks that a Chromium starts and loads a page: node start-chromium.mjs <path>.
// It speaks the DevTools protocol over a pipe (file descriptors 3 and 4).
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const profile = mkdtempSync(join(tmpdir(), 'metiva-chromium-'))
const child = spawn(
  process.argv[2],
  ['--headless', '--no-sandbox', '--no-zygote', '--disable-gpu', '--no-first-run', '--remote-debugging-pipe', '--user-data-dir=' + profile],
  { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'] },
)
let log = ''
child.stderr.on('data', (d) => (log = (log + d).slice(-4000)))
const end = (code, why) => {
  if (code) console.error(why + '\n' + log)
  child.on('exit', () => {
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
    process.exit(code)
  })
  if (!child.kill('SIGKILL')) process.exit(code)
}
child.on('error', (e) => end(1, String(e)))
setTimeout(() => end(1, 'no page within 60 s'), 60000)

const send = (message) => child.stdio[3].write(JSON.stringify(message) + '\0')
let buffer = ''
child.stdio[4].on('data', (d) => {
  const parts = (buffer + d).split('\0')
  buffer = parts.pop()
  for (const part of parts) {
    const m = JSON.parse(part)
    if (m.id === 1) send({ id: 2, method: 'Target.attachToTarget', params: { targetId: m.result.targetId, flatten: true } })
    if (m.id === 2) send({ id: 3, sessionId: m.result.sessionId, method: 'Runtime.evaluate', params: { expression: 'document.body.textContent' } })
    if (m.id === 3) m.result.result.value === 'ready' ? end(0) : send({ ...m, id: 3, method: 'Runtime.evaluate', params: { expression: 'document.body.textContent' }, result: undefined })
  }
})
send({ id: 1, method: 'Target.createTarget', params: { url: 'data:text/html,ready' } })
