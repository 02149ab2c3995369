"""The page's style sheet: light and dark by what the reader's system says, from a phone to a wide screen."""

STYLE = """\
:root { color-scheme: light dark; --bg: #fff; --card: #f6f7f9; --fg: #1c2430; --soft: #5b6675; --line: #d9dee5;
  --a: #0b6bcb; --b: #7a8699; --c: #b45f06; --bad: #c62828; --ok: #1b7f3b; --shade: rgba(198, 40, 40, .13) }
@media (prefers-color-scheme: dark) {
  :root { --bg: #12161c; --card: #1b212a; --fg: #e6eaf0; --soft: #9aa6b6; --line: #333c48;
    --a: #5aa9ff; --b: #8d99ab; --c: #e69a4a; --bad: #ff6b6b; --ok: #5fd38a; --shade: rgba(255, 107, 107, .17) }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1180px; padding: 16px; background: var(--bg); color: var(--fg);
  font: 16px/1.45 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; margin: .2em 0 }
h2 { font-size: 1.2rem; margin: 1.6em 0 .5em; border-top: 2px solid var(--line); padding-top: .7em }
h3 { font-size: 1rem; margin: 1em 0 .2em }
figure h3 { margin: 0 0 .2em }
p { margin: .3em 0 .7em }
ul { padding-left: 1.2em }
.soft, figcaption { color: var(--soft) }
.soft, figcaption, td, th { font-size: .88rem }
.bad { color: var(--bad); font-weight: 600 }
.ok { color: var(--ok); font-weight: 600 }
.tiles, .charts { display: grid; gap: 12px; margin: .6em 0 1em }
.tiles { grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)) }
.charts { grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)) }
.tile, figure { background: var(--card); border-radius: 8px; padding: 10px 12px; margin: 0 }
.tile { font-size: .88rem }
.tile b { display: block; font-size: 1.3rem }
svg { width: 100%; height: auto; display: block }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft) }
svg path { fill: none; stroke-width: 1.8 }
svg .grid { stroke: var(--line); stroke-width: 1 }
path.a { stroke: var(--a) }
path.b { stroke: var(--b) }
path.c { stroke: var(--c) }
circle.a, rect.a { fill: var(--a) }
circle.b, rect.b { fill: var(--b) }
circle.c { fill: var(--c) }
circle.limit { fill: var(--bad) }
path.limit, line.limit { stroke: var(--bad); stroke-dasharray: 5 4; stroke-width: 1.4 }
.mark { stroke: var(--bad); stroke-width: 3 }
.alarm { fill: var(--shade) }
.key { display: inline-block; margin-right: .9em; white-space: nowrap }
.key i { display: inline-block; width: 1.1em; height: .25em; margin-right: .35em; vertical-align: middle;
  background: currentColor }
.key.a { color: var(--a) }
.key.b { color: var(--b) }
.key.c { color: var(--c) }
.key.limit { color: var(--bad) }
.scroll { overflow-x: auto }
table { border-collapse: collapse; min-width: 100% }
td, th { text-align: left; padding: 3px 12px 3px 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: normal }
td.n, th.n { text-align: right; white-space: nowrap }
td.t { white-space: nowrap }
td.m { min-width: 18em; overflow-wrap: anywhere }
nav a { margin-right: 1em }
a { color: var(--a) }
"""
