/** The one style of our own pages: plain, both colour schemes, readable on a phone, nothing to download. */

// Contrast of text on its ground is at least 7:1, of controls 4.5:1 (WCAG 2.2, 1.4.3 and 1.4.6).
export const pageStyle = `
:root {
  color-scheme: light dark;
  --ground: #f3f5f8; --card: #ffffff; --edge: #dfe4ec; --text: #17202e; --quiet: #465164;
  --accent: #1d4ed8; --accent-over: #1e40af; --on-accent: #ffffff; --mark: #1d4ed8; --mark-ground: #e6edfd;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0d1320; --card: #161f30; --edge: #2a364b; --text: #eef2f8; --quiet: #b4c0d3;
    --accent: #8fb4ff; --accent-over: #b3ccff; --on-accent: #0d1320; --mark: #a9c5ff; --mark-ground: #22304a;
  }
}
@media (prefers-color-scheme: light) { .alert { --mark: #9a3412; --mark-ground: #fdeadd; } }
@media (prefers-color-scheme: dark) { .alert { --mark: #ffb98f; --mark-ground: #43291c; } }
* { box-sizing: border-box; }
body {
  margin: 0; min-height: 100vh; min-height: 100dvh; display: flex; flex-direction: column;
  align-items: center; justify-content: center; gap: 1.25rem; padding: 1.5rem 1rem;
  background: var(--ground); color: var(--text);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
header, footer { color: var(--quiet); font-size: .875rem; text-align: center; overflow-wrap: anywhere; }
header { font-weight: 600; letter-spacing: .01em; }
main {
  width: 100%; max-width: 28rem; padding: 2.25rem 2rem 2rem; text-align: center;
  background: var(--card); border: 1px solid var(--edge); border-radius: 1rem;
  box-shadow: 0 1px 2px rgb(13 19 32 / 6%), 0 12px 32px -12px rgb(13 19 32 / 18%);
}
.mark {
  width: 3.5rem; height: 3.5rem; margin: 0 auto 1.25rem; border-radius: 50%;
  display: grid; place-items: center; background: var(--mark-ground); color: var(--mark);
}
.mark svg { width: 1.75rem; height: 1.75rem; }
h1 { margin: 0 0 .5rem; font-size: 1.5rem; line-height: 1.25; letter-spacing: -.01em; text-wrap: balance; }
p { margin: 0; color: var(--quiet); text-wrap: pretty; }
.actions { margin: 1.75rem 0 0; display: flex; flex-direction: column; gap: .75rem; }
.button {
  display: block; padding: .75rem 1.25rem; border-radius: .625rem; font-weight: 600; text-decoration: none;
  background: var(--accent); color: var(--on-accent);
}
.button:hover { background: var(--accent-over); }
.link { color: var(--accent); padding: .25rem; align-self: center; text-underline-offset: .2em; }
.choices, .sessions { list-style: none; margin: 1.75rem 0 0; padding: 0; display: grid; gap: .75rem; }
.choice {
  display: grid; padding: .75rem 1.25rem; border: 1px solid var(--accent); border-radius: .625rem; text-decoration: none;
  color: var(--accent); font-weight: 600;
}
.choice:hover { background: var(--mark-ground); }
small { display: block; font-size: .875rem; font-weight: 400; color: var(--quiet); overflow-wrap: anywhere; }
.sessions { gap: 0; text-align: start; }
.sessions li {
  display: flex; align-items: center; justify-content: space-between; gap: .5rem 1rem; padding: .75rem 0;
  border-top: 1px solid var(--edge);
}
.sessions li:last-child { border-bottom: 1px solid var(--edge); }
em { font-style: normal; font-size: .8125rem; padding: .0625rem .5rem; border-radius: 1rem; background: var(--mark-ground); color: var(--mark); white-space: nowrap; }
form { margin: 0; }
.sessions + form { margin-top: 1.5rem; }
button { font: inherit; cursor: pointer; border: 0; }
form > .button { width: 100%; }
.quiet { padding: .25rem; background: none; color: var(--accent); text-decoration: underline; text-underline-offset: .2em; white-space: nowrap; }
.sessions .link { white-space: nowrap; }
a:focus-visible, button:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; border-radius: .625rem; }
dl { margin: 0; display: flex; flex-wrap: wrap; justify-content: center; gap: .125rem 1rem; }
dl div { display: flex; flex-wrap: wrap; justify-content: center; gap: 0 .375rem; }
dt { white-space: nowrap; }
dd { margin: 0; font-family: ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
@media (max-width: 30rem) { main { padding: 1.75rem 1.25rem 1.25rem; } h1 { font-size: 1.375rem; } }
@media (forced-colors: active) { main, .button { border: 1px solid; } }
`
