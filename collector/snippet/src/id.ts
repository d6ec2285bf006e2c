// Event ids: UUIDv7 (RFC 9562 §5.7), 48 bits of Unix milliseconds and 74
// random bits. The id is made once per event and stays with it through every
// retry, so that the collector's side can tell a repeat from a second event.
export function uuidv7(nowMs: number): string {
  const b = crypto.getRandomValues(new Uint8Array(16))
  for (let i = 6; i--; nowMs = Math.floor(nowMs / 256)) b[i] = nowMs % 256
  b[6] = (b[6]! & 15) | 112
  b[8] = (b[8]! & 63) | 128
  return Array.from(b, (v, i) => (/^(4|6|8|10)$/.test('' + i) ? '-' : '') + (v + 256).toString(16).slice(1)).join('')
}
