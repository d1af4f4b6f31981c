"""The report about a head as one HTML page that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from fc7.drawing.charts import draw_curve, draw_reliability
from fc7.drawing.head_page_style import STYLE
from fc7.drawing.thumbnails import draw_thumbnail

if TYPE_CHECKING:
    from fc7.evaluation import Evaluation
    from fc7.head_report import HeadReport, JudgedRow

_MATRIX = 20  # classes of the confusion matrix
_CELLS, _IN_CELL = 30, 8  # confusions whose pictures are shown, and pictures of each
_LISTED = 24  # pictures of each list
_PAIRS = 12


def pictured_ids(report: HeadReport) -> list[str]:
    """Return the ids of the pictures that the page shows, each once."""
    rows = [*report.suspected[:_LISTED], *_mistakes(report)[:_LISTED], *report.contradictions[:_LISTED]]
    rows += [row for pair in report.duplicates[:_PAIRS] for row in (pair.first, pair.second)]
    rows += [row for _, its in _cells(report) for row in its[:_IN_CELL]]
    return list(dict.fromkeys(row.id for row in rows))


def draw_head_page(report: HeadReport, files: Mapping[str, Path]) -> str:
    """Return the page.

    Parameters
    ----------
    report
        What is known about the head.
    files
        The file of each picture by id. A picture without a file, or with one that cannot be read, is shown by its id.
    """
    pictures = {name: draw_thumbnail(path) for name, path in files.items()}
    head, evaluation = report.head, report.evaluate()
    title = f"Head {head.name}, version {head.version}"
    facts = (
        f"{len(report.rows)} pictures in {len(head.classes)} classes from {head.source or 'an unnamed source'}. "
        f"Layer {head.provenance.layer} of {head.provenance.model}, {head.method}. Trained {head.created}."
    )
    parts = [
        f"<h1>{escape(title)}</h1><p class=facts>{escape(facts)}</p>",
        *(f"<p class=warning>{escape(warning[0].upper() + warning[1:])}.</p>" for warning in head.warnings),
        _figures(report),
        _beside(report),
        _charts(report),
        _unknown(report),
        _classes(evaluation),
        _matrix(report, evaluation),
        _section(
            "Labels that are probably wrong",
            "Other pictures contradict these labels (confident learning). Most suspicious first. Check them by eye.",
            _gallery(report.suspected, pictures, _LISTED),
        ),
        _section(
            "Most confident mistakes",
            "The head is surest about these wrong answers. The labels above are not repeated.",
            _gallery(_mistakes(report), pictures, _LISTED),
        ),
        _section(
            "Almost the same picture in two classes",
            "One of the two labels is probably wrong, or the classes overlap.",
            _pairs(report, pictures),
        ),
        _section(
            "Pictures with two labels",
            "They were left out of all figures.",
            _gallery(report.contradictions, pictures, _LISTED),
        ),
        _behind_cells(report, pictures),
        "<footer>Every picture was judged by a head that was fitted without it and without its copies. "
        "Intervals hold the true figure in 95 % of cases. Made by fc7.</footer>",
    ]
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def _section(title: str, text: str, body: str) -> str:
    """Return a section; nothing if it has no body."""
    return f"<section><h2>{escape(title)}</h2><p>{escape(text)}</p>{body}</section>" if body else ""


def _figures(report: HeadReport) -> str:
    measures = report.measures
    figures = [
        ("accuracy", measures.accuracy, "share of right answers"),
        ("balanced accuracy", measures.balanced_accuracy, "mean over the classes"),
        ("top-5 accuracy", measures.top5, "class among the five most probable"),
        ("log loss", measures.log_loss, "nats per picture, smaller is better"),
        ("calibration error", measures.calibration_error, "probability against truth, smaller is better"),
    ]
    cards = "".join(
        f"<div class=card><div class=name>{name}</div><div class=number>{one.value:.3f}</div>"
        f"<div class=interval>{one.low:.3f} to {one.high:.3f}</div><div class=note>{note}</div></div>"
        for name, one, note in figures
        if one is not None
    )
    return f"<div class=cards>{cards}</div>"


def _beside(report: HeadReport) -> str:
    """Return the accuracies of simple rivals on the same pictures."""
    measures = report.measures
    rows = [("this head", measures.accuracy.value, measures.count, "")]
    p = _chance(measures.majority_p)
    rows.append(
        (f"always {measures.majority_label!r}, the largest class", measures.majority_accuracy, measures.count, p)
    )
    if (other := report.published) is not None:
        p = f"{_chance(other.p_value)}; this head has {other.accuracy:.3f} on the same pictures"
        rows.append((f"version {other.version}, which is published", other.other_accuracy, other.count, p))
    body = "".join(
        f"<tr><td>{escape(name)}<td class=n>{accuracy:.3f}<td class=bar>{_bar(accuracy)}<td class=n>{count}"
        f"<td>{escape(note)}"
        for name, accuracy, count, note in rows
    )
    return _section(
        "Beside it",
        "The same pictures, judged otherwise. A p below 0.05 says that the difference is hardly chance "
        "(McNemar's test).",
        f"<table><tr><th>what answers<th class=n>accuracy<th><th class=n>pictures<th>difference{body}</table>",
    )


def _charts(report: HeadReport) -> str:
    more = report.labels_for_one_point
    curve_text = (
        "The curve does not tell how many labels would gain a point."
        if more is None
        else f"About {more} more labels for one more point of accuracy."
    )
    return (
        "<div class=charts>"
        + _section(
            "Do the probabilities hold?",
            "On the diagonal they do. Below it, the head is too sure. Larger dots are more answers.",
            draw_reliability(report.reliability()),
        )
        + _section("Would more labels help?", curve_text, draw_curve(report.curve))
        + "</div>"
    )


def _unknown(report: HeadReport) -> str:
    rule = report.head.unknown
    if rule is None:
        return ""
    body = "".join(
        f"<tr><td>{escape(score.name)}<td class=n>{score.unknown_refused:.3f}<td class=bar>"
        f"{_bar(score.unknown_refused)}<td class=n>{score.auroc:.3f}"
        for score in rule.scores
    )
    return _section(
        "None of these",
        f"Published with --refuse-unknown, the head keeps {rule.known_kept:.0%} of the pictures of its classes and "
        f"refuses {rule.unknown_refused:.0%} of others, by the first score. Measured by leaving out a fifth of the "
        "classes in turn.",
        f"<table><tr><th>score<th class=n>others refused<th><th class=n>AUROC{body}</table>",
    )


def _classes(evaluation: Evaluation) -> str:
    body = "".join(
        f"<tr><td>{escape(row.label)}<td class=n>{_share(row.precision)}<td class=bar>{_bar(row.precision)}"
        f"<td class=n>{_share(row.recall)}<td class=bar>{_bar(row.recall)}<td class=n>{row.support}"
        for row in sorted(evaluation.classes, key=lambda row: (row.recall is None, row.recall))
    )
    return _section(
        "Each class",
        "Recall is the share of the class that is recognised. Precision is the share of its answers that are right. "
        "Weakest first.",
        f"<table><tr><th>class<th class=n>precision<th><th class=n>recall<th><th class=n>pictures{body}</table>",
    )


def _matrix(report: HeadReport, evaluation: Evaluation) -> str:
    """Return the confusion matrix of the classes with the most mistakes; cells lead to their pictures."""
    wrong: dict[str, int] = dict.fromkeys(report.head.classes, 0)
    for pair in evaluation.confusions:
        wrong[pair.label] += pair.count
        wrong[pair.predicted] += pair.count
    shown = sorted(sorted(wrong, key=lambda name: -wrong[name])[:_MATRIX])
    counts = {(pair.label, pair.predicted): pair.count for pair in evaluation.confusions}
    support = {row.label: row.support for row in evaluation.classes}
    right = {row.label: round((row.recall or 0) * row.support) for row in evaluation.classes}
    linked = {cell: i for i, (cell, _) in enumerate(_cells(report))}
    lines = []
    for label in shown:
        cells = []
        for answer in shown:
            n = right.get(label, 0) if label == answer else counts.get((label, answer), 0)
            share = n / support[label] if support.get(label) else 0
            kind = "right" if label == answer else "wrong"
            text = f'<a href="#cell-{linked[label, answer]}">{n}</a>' if (label, answer) in linked else str(n or "")
            cells.append(f'<td class="cell {kind}" style="--share:{share:.3f}">{text}')
        lines.append(f"<tr><th class=row>{escape(label)}{''.join(cells)}")
    top = "".join(f"<th class=column><span>{escape(name)}</span>" for name in shown)
    which = "" if len(shown) == len(wrong) else f" The {len(shown)} classes with the most mistakes are shown."
    return _section(
        "What is taken for what",
        "Rows are labels, columns are answers. A linked number leads to its pictures." + which,
        f"<div class=wide><table class=matrix><tr><th>{top}{''.join(lines)}</table></div>",
    )


def _behind_cells(report: HeadReport, pictures: Mapping[str, str]) -> str:
    body = "".join(
        f'<h3 id="cell-{i}">{escape(label)} taken for {escape(answer)}: {len(rows)}</h3>'
        + _gallery(rows, pictures, _IN_CELL)
        for i, ((label, answer), rows) in enumerate(_cells(report))
    )
    return _section("The pictures behind the confusions", "Most frequent first, surest answers first.", body)


def _cells(report: HeadReport) -> list[tuple[tuple[str, str], list[JudgedRow]]]:
    """Return the most frequent confusions with their pictures."""
    wrong = [(cell, rows) for cell, rows in report.confused().items() if cell[0] != cell[1]]
    return sorted(wrong, key=lambda entry: (-len(entry[1]), entry[0]))[:_CELLS]


def _mistakes(report: HeadReport) -> list[JudgedRow]:
    """Return the most confident mistakes among the labels that are not suspected."""
    suspected = set(map(id, report.suspected))
    return [row for row in report.mistakes if id(row) not in suspected]


def _gallery(rows: Sequence[JudgedRow], pictures: Mapping[str, str], most: int) -> str:
    """Return captioned pictures; nothing if there are none."""
    shown = "".join(_figure(row, pictures) for row in rows[:most])
    more = f"<p class=more>and {len(rows) - most} more, which --json lists</p>" if len(rows) > most else ""
    return f"<div class=gallery>{shown}</div>{more}" if shown else ""


def _pairs(report: HeadReport, pictures: Mapping[str, str]) -> str:
    return "".join(
        f"<div class=pair>{_figure(pair.first, pictures)}{_figure(pair.second, pictures)}"
        f"<span>similarity {pair.similarity:.3f}</span></div>"
        for pair in report.duplicates[:_PAIRS]
    )


def _figure(row: JudgedRow, pictures: Mapping[str, str]) -> str:
    source = pictures.get(row.id)
    name = escape(row.id, quote=True)
    image = f'<img src="{source}" alt="{name}">' if source else '<div class="missing">not on this machine</div>'
    return (
        f'<figure title="{name}">{image}<figcaption><b>{escape(row.label)}</b>'
        f"<span>{row.probability:.0%} {escape(row.predicted)}</span><small>{name}</small></figcaption></figure>"
    )


def _chance(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _bar(value: float | None) -> str:
    return "" if value is None else f'<i style="width:{100 * value:.1f}%"></i>'
