// quietly runs our code so that nothing of it reaches the page's error
// handlers: measuring a page must not break it.
export const quietly = (run: () => void): void => {
  try {
    run()
  } catch {
    // Nothing of ours is worth a fault of the page.
  }
}

// on listens quietly.
export const on = <E extends Event>(type: string, listener: (e: E) => void, target: EventTarget = window): void => {
  target.addEventListener(type, (e) => quietly(() => listener(e as E)))
}
