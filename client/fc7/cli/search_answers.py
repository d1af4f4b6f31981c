"""How the answers of `fc7 search` are printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fc7.cli.output import print_json, print_note, print_table, print_text
from fc7.errors import Fc7Error

if TYPE_CHECKING:
    from fc7 import Hit, Hits


def print_answers(names: Sequence[str], answers: Sequence[Hits | Fc7Error], *, as_json: bool) -> None:
    """Print the hits; a line names its query only if there are several."""
    several = ["query"] if len(names) > 1 else []
    hits = [(name, hit) for name, answer in zip(names, answers, strict=True) for hit in _hits_of(name, answer)]
    if as_json:
        for name, hit in hits:
            print_json(dict.fromkeys(several, name) | _facts(hit))
        return
    extra = [column for column in ("group", "rarity") if any(getattr(hit, column) is not None for _, hit in hits)]
    rows = [
        [
            *([name] if several else []),
            hit.id,
            hit.score,
            *(getattr(hit, one) for one in extra),
            hit.payload.get("label"),
        ]
        for name, hit in hits
    ]
    print_table((*several, "id", "score", *extra, "label"), rows)


def _hits_of(name: str, answer: Hits | Fc7Error) -> Sequence[Hit]:
    """Return the hits of a query; note the error of one that failed."""
    if isinstance(answer, Fc7Error):
        print_note(name, answer)
        return []
    return answer


def _facts(hit: Hit) -> dict[str, Any]:
    facts = {"id": hit.id, "score": hit.score, "payload": hit.payload}
    if hit.rarity is not None:
        facts["rarity"] = hit.rarity
    if hit.group is not None:
        facts["group"] = hit.group
    return facts if hit.feature is None else facts | {"feature": hit.feature.tolist()}


def print_reports(answers: Sequence[Hits | Fc7Error], *, as_json: bool) -> None:
    """Print how the calls were answered: one line per call, or one JSON object after the hits."""
    reports = {id(answer.report): answer.report for answer in answers if not isinstance(answer, Fc7Error)}
    for report in reports.values():
        if as_json:
            print_json({"report": report.to_dict()})
            continue
        stages = ", ".join(f"{stage} {1000 * seconds:.1f} ms" for stage, seconds in report.seconds.items())
        codes = f" and {report.codes_compared} codes" if report.codes_compared else ""
        compared = f"compared {report.vectors_compared} vectors{codes}"
        if report.rarity_pairs:
            compared += f"; rarity from {report.rarity_pairs} random pairs"
        if report.recall is not None and report.recall.queries:
            compared += f"; recall@10 of recent queries {report.recall.value:.4f}"
        print_text(f"index {report.index}: {compared}; {stages}", err=True)
