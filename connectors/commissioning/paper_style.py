"""How the commissioning report looks on A4 paper: heads repeated on every sheet, no row and no signature cut in two."""

from __future__ import annotations

from typing import Final

FOOT: Final = "FOOT"
"""Stands in the style for what is at the foot of every sheet, so that no signed sheet is exchanged unseen."""

STYLE: Final = """
@page { size: A4 landscape; margin: 11mm 10mm 13mm; @bottom-right { content: counter(page) " / " counter(pages);
  font: 8pt sans-serif; } @bottom-left { content: "FOOT"; font: 8pt sans-serif; } }
* { box-sizing: border-box; }
body { font: 9pt/1.35 "Noto Sans CJK SC", "Source Han Sans SC", "Microsoft YaHei", SimSun, sans-serif; color: #000;
  background: #fff; max-width: 277mm; margin: 0 auto; padding-right: .4mm; }
h1 { font-size: 17pt; margin: 0 0 2mm; }
h2 { font-size: 13pt; margin: 6mm 0 1.5mm; padding-top: 1mm; border-top: 1.2pt solid #000; }
h3 { font-size: 10.5pt; margin: 4mm 0 1mm; }
h4 { font-size: 9pt; margin: 2.5mm 0 .8mm; }
h1, h2, h3, h4, dl { break-after: avoid; }
small { font-weight: normal; font-size: 9pt; color: #444; }
.en { color: #444; font-size: .86em; }
code { font: 8pt "DejaVu Sans Mono", Consolas, monospace; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 3fr max-content 2fr; gap: .5mm 3mm; margin: 1mm 0 2mm; }
dt { color: #333; } dd { margin: 0; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; margin: 0 0 2mm; }
thead { display: table-header-group; }
tr { break-inside: avoid; }
th, td { border: .5pt solid #777; padding: .7mm 1mm; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { background: #eee; font-weight: 600; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.points { table-layout: fixed; font-size: 8pt; }
.points td:nth-child(9) { text-align: right; }
.points th:nth-child(1) { width: 8mm; }
.points th:nth-child(2) { width: 53mm; }
.points th:nth-child(3) { width: 30mm; }
.points th:nth-child(4) { width: 14mm; }
.points th:nth-child(5) { width: 13mm; }
.points th:nth-child(6) { width: 15mm; }
.points th:nth-child(7) { width: 19mm; }
.points th:nth-child(8) { width: 13mm; }
.points th:nth-child(9) { width: 18mm; }
.points th:nth-child(10) { width: 23mm; }
.points th:nth-child(11) { width: 26mm; }
.points th:nth-child(12) { width: 23mm; }
.points th:nth-child(13) { width: 21mm; }
.blank { display: inline-block; width: 100%; min-width: 18mm; max-width: 60mm; height: 4.6mm;
  border-bottom: .6pt solid #000; }
.notice, .simulated { border: 1.2pt solid #000; padding: 1mm 2mm; font-weight: 600; }
.end { break-inside: avoid; }
.people td { width: 33%; height: 26mm; }
@media screen { body { padding: 8mm; } }
"""
