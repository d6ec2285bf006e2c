// Unpacks the brotli files of @sparticuz/chromium: node unpack-chromium.mjs <bin folder> <target folder>.
// The target gets chromium.bin, lib/, fonts/, the software renderer, and the
// script `chromium` that starts it with its own libraries and fonts.
import { execFileSync } from 'node:child_process'
import { chmodSync, createReadStream, createWriteStream, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createBrotliDecompress } from 'node:zlib'

const [from, to] = process.argv.slice(2)

async function unpack(name, target) {
  await pipeline(createReadStream(join(from, name)), createBrotliDecompress(), createWriteStream(join(to, target)))
}

await unpack('chromium.br', 'chromium.bin')
chmodSync(join(to, 'chromium.bin'), 0o755)
for (const archive of ['al2023.tar', 'swiftshader.tar', 'fonts.tar']) {
  await unpack(archive + '.br', archive)
  execFileSync('tar', ['xf', join(to, archive), '-C', to, '--no-same-owner'])
  rmSync(join(to, archive))
}
// Its own fonts.conf names folders of the place it was made for.
writeFileSync(
  join(to, 'fonts.conf'),
  `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir prefix="relative">fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>
`,
)
writeFileSync(
  join(to, 'chromium'),
  `#!/bin/sh
dir=$(dirname "$(readlink -f "$0")")
FONTCONFIG_PATH=$dir LD_LIBRARY_PATH="$dir/lib\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$dir/chromium.bin" "$@"
`,
  { mode: 0o755 },
)
