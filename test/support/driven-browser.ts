/** What tests need of a browser that playwright does not drive. */

export interface DrivenTab {
  goto(url: string): Promise<void>
  /** The value of an expression in the page; what is JSON. */
  read(expression: string): Promise<unknown>
  /** Presses what this selector finds, as a person does: with the right to open a window. */
  press(selector: string): Promise<void>
}

export interface DrivenBrowser extends AsyncDisposable {
  readonly tab: DrivenTab
  /** All windows and tabs that are open. */
  tabs(): Promise<DrivenTab[]>
  /** Those of the page that the first tab shows. */
  cookies(): Promise<{ name: string; path: string; httpOnly: boolean; secure: boolean }[]>
}

const PATIENCE_MS = 15_000
const LOOK_AGAIN_MS = 50

/** Waits until an expression is true in the page; while it navigates there is none to ask. */
export async function eventually(tab: DrivenTab, expression: string): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  let last = ''
  for (;;) {
    try {
      if (await tab.read(expression)) return
      last = String(await tab.read('location.href + " " + document.body?.innerText'))
    } catch (error) {
      last = String(error)
    }
    if (performance.now() > deadline) throw new Error(`never so: ${expression}; but ${last}`)
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS))
  }
}
