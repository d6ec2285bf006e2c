// Event ids: UUIDv7 (RFC 9562 §5.7), 48 bits of Unix milliseconds and 72 random
// bits. The id is made once per event and stays with it through every retry, so
// that the collector's side can tell a repeat from a second event.
// The time has eleven digits until the year 2527.
export const uuidv7 = (nowMs: number, time = '0' + nowMs.toString(16), i = 0): string =>
  '________-____-7___-8___-____________'.replace(/_/g, () => time[i++] || (crypto.getRandomValues(new Uint8Array(1))[0]! & 15).toString(16))
