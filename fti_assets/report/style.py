"""The style sheet of the report's page."""

STYLE = """
:root{--paper:#fff;--card:#f7f8fb;--ink:#1a1d29;--soft:#565c70;--rule:#dcdfe8;--line:#3b3fd8;--band:#3b3fd8;
--bad:#b3261e;--good:#1b6e3c;--late:#8a5a00;--bad-paper:#fdeceb;--good-paper:#e7f5ec;--even:#3b3fd8;--odd:#0f7a8a;
--on-span:#fff}
@media (prefers-color-scheme:dark){:root{--paper:#14161d;--card:#1d2029;--ink:#e9ebf2;--soft:#a9afc2;--rule:#363b4a;
--line:#9aa2ff;--band:#9aa2ff;--bad:#ff8a80;--good:#7fd6a0;--late:#f0b95a;--bad-paper:#3a1f1f;--good-paper:#1a3325;
--even:#5a61e6;--odd:#15707e;--on-span:#fff}}*{box-sizing:border-box}
body{margin:0 auto;padding:24px 16px 64px;max-width:1180px;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.7rem;line-height:1.2;margin:0}
h2{font-size:1.3rem;margin:40px 0 8px;padding-top:16px;border-top:1px solid var(--rule)}
h3{font-size:1.02rem;margin:24px 0 4px}p{margin:4px 0 12px;max-width:80ch}header p{color:var(--soft)}a{color:inherit}
.tiles{list-style:none;padding:0;margin:16px 0;display:grid;gap:12px;
grid-template-columns:repeat(auto-fit,minmax(150px,1fr))}
.tiles a{display:block;height:100%;padding:12px 14px;border:1px solid var(--rule);border-radius:8px;
background:var(--card);text-decoration:none}.tiles a:hover,.tiles a:focus-visible{border-color:var(--line)}
.tiles b{display:block;font-size:1.5rem;line-height:1.2}
.tiles span{color:var(--soft);font-size:.85rem;line-height:1.35;display:block}b.good{color:var(--good)}
b.bad{color:var(--bad)}
.grid{display:grid;gap:12px;grid-template-columns:repeat(auto-fill,minmax(min(100%,320px),1fr));margin:12px 0}
.broad{grid-column:1/-1;margin:12px 0}.broad figure{overflow-x:auto}.broad svg{min-width:600px;max-width:860px}
td.s{white-space:nowrap}.dot.many{stroke-width:3.5}th.n{text-align:right}
figure{margin:0;padding:10px 12px;border:1px solid var(--rule);border-radius:8px;background:var(--card)}
figcaption{font-size:.82rem;line-height:1.4;color:var(--soft);margin-bottom:6px}
figcaption strong{display:block;color:var(--ink);font-size:.95rem}
svg{display:block;width:100%;height:auto;overflow:visible}svg text{font-size:11px;fill:var(--soft)}
.axis{fill:none;stroke:var(--rule)}.line{fill:none;stroke:var(--line);stroke-width:1.6;stroke-linejoin:round}
.estimate{stroke-dasharray:1.5 3.5;stroke-linecap:round;stroke-width:1.8}
.limit{fill:none;stroke:var(--bad);stroke-dasharray:6 4}.band{fill:var(--band);opacity:.16}
.dot{fill:none;stroke:var(--line);stroke-width:5;stroke-linecap:round}.dot.warned{stroke:var(--bad);stroke-width:7}
.dot.late{stroke:var(--late);stroke-width:7}.dot.hollow{stroke-width:5;opacity:.55}
.ring{fill:var(--card);stroke:var(--line);stroke-width:1.4}.accepted{fill:var(--line);stroke:var(--line)}
.rejected{fill:var(--card);stroke:var(--bad);stroke-width:2}.span.even{fill:var(--even)}.span.odd{fill:var(--odd)}
.span.rolled{fill:var(--card);stroke:var(--bad);stroke-width:1.5;stroke-dasharray:5 3}
svg .on-span{fill:var(--on-span)}svg .on-rolled{fill:var(--ink)}.bar{fill:var(--line)}.bar.pale{opacity:.35}
.wide{overflow-x:auto;margin:12px 0;border:1px solid var(--rule);border-radius:8px}
table{border-collapse:collapse;width:100%;font-size:.85rem;overflow-wrap:normal}
caption{text-align:left;padding:8px 12px;font-weight:600}
th,td{padding:6px 12px;text-align:left;vertical-align:top;border-top:1px solid var(--rule)}
th{color:var(--soft);font-weight:600;white-space:nowrap;background:var(--card)}td{max-width:44ch}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code{font:.92em ui-monospace,SFMono-Regular,Menlo,monospace;white-space:nowrap}
.badge{display:inline-block;padding:0 8px;border-radius:99px;border:1px solid var(--rule);font-size:.8rem;
white-space:nowrap}.badge.good{color:var(--good);background:var(--good-paper);border-color:transparent}
.badge.bad{color:var(--bad);background:var(--bad-paper);border-color:transparent}
.nothing{padding:10px 14px;border:1px dashed var(--rule);border-radius:8px;color:var(--soft);max-width:none}
.problem{padding:10px 14px;border-left:3px solid var(--bad);background:var(--bad-paper);border-radius:4px;
max-width:none}.causes{padding:0;list-style:none}
.causes li{padding:10px 14px;margin:8px 0;border-left:3px solid var(--bad);background:var(--bad-paper);
border-radius:4px}.lines{font-size:.88rem;color:var(--soft)}details{margin:8px 0}
summary{cursor:pointer;color:var(--soft);padding:4px 0}@media print{details{display:block}}
""".strip()
