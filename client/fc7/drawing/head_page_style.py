"""How the report about a head looks."""

STYLE = """
:root { --ink: #1f2328; --faint: #59636e; --rule: #d8dee4; --good: #1a7f5a; --bad: #c2410c; --soft: #f6f8fa; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; font: 15px/1.5 system-ui, "Segoe UI", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 32px 64px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 6px; }
h2 { font-size: 19px; margin: 0 0 4px; }
h3 { font-size: 15px; margin: 20px 0 8px; scroll-margin-top: 16px; }
section { margin-top: 40px; }
section > p, .facts { color: var(--faint); margin: 0 0 14px; }
.facts { overflow-wrap: anywhere; }
.warning { border-left: 4px solid var(--bad); background: #fff4ed; padding: 10px 14px; margin: 14px 0 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; margin-top: 24px; }
.card { border: 1px solid var(--rule); border-radius: 8px; padding: 12px 14px; }
.name { font-weight: 600; }
.number { font-size: 30px; line-height: 1.25; font-variant-numeric: tabular-nums; }
.interval { color: var(--faint); font-variant-numeric: tabular-nums; }
.note { color: var(--faint); font-size: 12.5px; margin-top: 4px; line-height: 1.35; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); gap: 0 40px; }
svg { width: 100%; height: auto; display: block; font: 12px system-ui, sans-serif; fill: var(--faint); }
svg .grid { stroke: var(--rule); } svg .ideal { stroke: var(--faint); stroke-dasharray: 4 4; }
svg .gap { stroke: var(--bad); stroke-width: 2; opacity: .55; }
svg .dot { fill: var(--good); stroke: #fff; } svg .line { fill: none; stroke: var(--good); stroke-width: 2; }
svg .value, svg .axis { fill: var(--ink); }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 600; } th, td { padding: 5px 18px 5px 0; border-bottom: 1px solid var(--rule); }
.n { text-align: right; font-variant-numeric: tabular-nums; }
td.bar { width: 18%; } td.bar i { display: block; height: 9px; border-radius: 2px; background: var(--good); }
.wide { overflow-x: auto; }
.matrix { width: auto; } .matrix th, .matrix td { border: 0; padding: 0; }
.matrix .row { padding-right: 10px; text-align: right; font-weight: 400; white-space: nowrap; max-width: 220px;
  overflow: hidden; text-overflow: ellipsis; }
.matrix .column { height: 130px; vertical-align: bottom; font-weight: 400; width: 40px; }
.matrix .column span { display: block; writing-mode: vertical-rl; transform: rotate(180deg); max-height: 124px;
  overflow: hidden; white-space: nowrap; margin: 0 auto; }
.matrix .cell { width: 40px; min-width: 40px; height: 34px; text-align: center; border: 1px solid #fff;
  font-variant-numeric: tabular-nums; background: var(--soft); }
.matrix .right { background: color-mix(in srgb, var(--good) calc(var(--share) * 75%), var(--soft)); }
.matrix .wrong { background: color-mix(in srgb, var(--bad) calc(min(1, var(--share) * 3) * 85%), var(--soft)); }
.matrix a { color: inherit; display: block; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(122px, 1fr)); gap: 14px; }
figure { margin: 0; width: 122px; }
figure img, .missing { width: 120px; height: 120px; border-radius: 6px; display: block; }
.missing { background: var(--soft); color: var(--faint); display: grid; place-items: center; font-size: 12px; }
figcaption { font-size: 12.5px; line-height: 1.3; margin-top: 4px; } figcaption > * { display: block; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; } figcaption span { color: var(--bad); }
figcaption small { color: var(--faint); }
.pair { display: inline-flex; gap: 8px; align-items: center; margin: 0 24px 16px 0; break-inside: avoid; }
.pair > span { color: var(--faint); font-size: 12.5px; }
.more, footer { color: var(--faint); margin-top: 14px; } footer { margin-top: 48px; border-top: 1px solid var(--rule);
  padding-top: 12px; font-size: 13px; }
@media print { main { padding: 0; max-width: none; } section { margin-top: 24px; break-inside: auto; }
  h2, h3 { break-after: avoid; } figure, .card, tr, svg { break-inside: avoid; } * { print-color-adjust: exact;
  -webkit-print-color-adjust: exact; } }
"""
