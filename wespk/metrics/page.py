"""The results as one HTML page that needs no other file."""

import base64
import re
from html import escape

from wespk.metrics import bias_report, category_report, report
from wespk.metrics.plots import det_png, histogram_png

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: 14px }
th, td { text-align: left; padding: .3em .9em .3em 0; border-bottom: 1px solid #ddd; white-space: nowrap }
td { font-variant-numeric: tabular-nums } th { border-bottom: 2px solid #999 }
.flag { background: #fff3cd } img { max-width: 100%; height: auto } ul { padding-left: 1.2em }
"""


def det_of(results):
    """The DET chart of all systems in the contents of ``metrics.json``, PNG bytes."""
    return det_png([
        {"trials": trials["name"], "system": system["name"], "eer": system["metrics"]["eer"]["value"], **system["det"],
         "num_targets": trials["num_targets"], "num_nontargets": trials["num_nontargets"]}
        for trials, system in report.rows_of(results)
    ])  # fmt: skip


def histograms_of(results):
    """The histograms of all systems in the contents of ``metrics.json``, PNG bytes."""
    return histogram_png([
        {"title": f"{trials['name']}  {system['name']}", "threshold": system["eer_threshold"], **system["histogram"]}
        for trials, system in report.rows_of(results)
    ])  # fmt: skip


def page(results, title, deviations, det, about="", maps=()):
    """The contents of report.html. deviations and about as for ``report.markdown``; det: the DET chart, PNG bytes; maps:
    those of ``category_report.heat_maps``."""
    parts = [f"<p>{escape(about)}</p>"] if about else []
    parts += [_table(*report.result_rows(results, deviations or ())), _list(report.notes(results))]
    if deviations is not None:
        lines = report.deviation_lines(deviations) or [report.ALL_MET]
        parts += ["<h2>Expected</h2>", _list(lines, "flag" if deviations else "")]
    parts += ["<h2>Detection error trade-off</h2>", _image(det, "DET curves; dots mark the equal error rates")]
    parts += ["<h2>Scores</h2>", _image(histograms_of(results), "Histograms of target and nontarget scores")]
    for name, sentences, tables in category_report.sections(results):
        parts += [f"<h2>{escape(category_report.title_of(name))}</h2>", *(f"<p>{escape(line)}</p>" for line in sentences)]
        parts += [_image(maps[name], f"Heat maps of the EER by {name}"), *(f"{_table(*table)}<br>" for table in tables)]
    for before, header, rows, after in bias_report.sections(results):
        sentences = [f"<p>{escape(line)}</p>" for line in before]
        parts += [f"<h2>{bias_report.TITLE}</h2>", *sentences, _table(header, rows), _list(after)]
    header, rows = report.comparison_rows(results)
    if rows:
        parts += ["<h2>Paired comparison on the same resamples</h2>", _table(header, rows)]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    body = "\n".join([f"<h1>Results: {escape(title)}</h1>", *parts])
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{body}\n</body></html>\n'


def _table(header, rows):
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in header) + "</tr>"]
    for row in rows:
        lines.append("<tr>" + "".join(f"<td{_flag(cell)}>{escape(cell)}</td>" for cell in row) + "</tr>")
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"


def _flag(cell):
    return ' class="flag"' if re.match(r"[\d.]+!", cell) else ""


def _list(lines, kind=""):
    return f'<ul class="{kind}">' + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _image(png, text):
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
