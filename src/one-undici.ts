/**
 * One undici for all: the package that talks to the upstreams also serves the global `fetch`.
 *
 * Node carries a second copy and loads it, for 24 MB and a tenth of the start, when somebody reads `Headers`, `Response`
 * or the like. The package does that while it is loaded, so until then there is no `Headers`; its own `install()` then
 * puts its whole set in place. Call it before anything else loads undici.
 */
export async function useOneUndici(): Promise<void> {
  // Assigned: to define the property anew would ask Node for the old value.
  Reflect.set(globalThis, 'Headers', undefined)
  const { install } = await import('undici')
  install()
}
