"""Write README's tables from the registry and the records, or check that they are up to date.

python tools/tables.py            write
python tools/tables.py --check    exit with status 1 where a table differs from what it is made of
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from pathlib import Path

from gnnzoo.atomic import write_text
from gnnzoo.cards import METRICS, DatasetCard
from gnnzoo.leaderboard import Store
from gnnzoo.leaderboard.shipped import Board, boards
from gnnzoo.leaderboard.table import Row, compare, in_unit
from gnnzoo.registry import DATASETS, MODELS, SUITES
from gnnzoo.runner.config import resolve

ROOT = Path(__file__).resolve().parent.parent


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    """Return a markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def models() -> str:
    """Return the table of models, from their cards."""
    rows = []
    for name in MODELS.names():
        card = MODELS.card(name)
        paper = card.paper
        source = ""
        if paper is not None:
            source = f"{paper.title}, {paper.year}"
            source += f", [arXiv {paper.arxiv}](https://arxiv.org/abs/{paper.arxiv})" if paper.arxiv else ""
        rows.append([f"`{name}`", card.summary, ", ".join(card.tasks), source])
    return markdown(["model", "what it is", "tasks", "paper"], rows)


def datasets() -> str:
    """Return the table of datasets by structure, task and family, from their cards."""
    groups: dict[tuple[str, str, str], list[DatasetCard]] = {}
    for card in map(DATASETS.card, DATASETS.names()):
        groups.setdefault((card.structure, card.task, card.family), []).append(card)
    rows = []
    for (structure, task, family), cards in sorted(groups.items()):
        names = ", ".join(f"`{card.name}`{'' if card.seen else '*'}" for card in cards)
        protocols = ", ".join(f"`{name}`" for name in dict.fromkeys(p for card in cards for p in card.protocols))
        rows.append([structure, task, family, names, protocols])
    return markdown(["structure", "task", "family", "datasets", "protocols"], rows)


def _interval(row: Row, metric: str) -> str:
    text = f"{in_unit(row.summary.mean, metric):.2f}"
    if row.summary.half_width is not None:
        text += f" ± {in_unit(row.summary.half_width, metric):.2f}"
    return text


def _test(row: Row, metric: str) -> str:
    if row.against_best is None:
        return "best"
    text = f"{in_unit(row.against_best.difference, metric):+.2f}"
    if row.p_holm is not None:
        text += f", p {'< 0.001' if row.p_holm < 0.001 else f'= {row.p_holm:.3f}'}"
    return text


COLUMNS = ["benchmark", "model", "test ± 95 % CI", "std", "splits × seeds", "to the best", "published", "gap"]
COLUMNS += ["parameters", "CPU ms/epoch"]


def _boards() -> list[Board]:
    """Return the committed records of the shipped configurations, by benchmark."""
    return boards(Store(ROOT / "leaderboards" / "results"), lambda model, benchmark: resolve(model, benchmark).hash)


def _rows(board: Board) -> list[list[str]]:
    """Return a row per model, best first."""
    metric = board.metric
    rows = []
    for row in compare(board.groups, board.published):
        std = f"{in_unit(row.summary.std, metric):.2f}" if row.summary.std is not None else ""
        published, gap = "", ""
        if row.published:
            published = f"{row.published.mean:g}" + (f" ± {row.published.std:g}" if row.published.std else "")
            gap = f"{in_unit(row.summary.mean, metric) - row.published.mean:+.2f}"
        n = f"{row.splits} × {row.seeds}"
        rows.append([f"`{board.benchmark}`", f"`{row.label}`", _interval(row, metric), std, n, _test(row, metric)])
        rows[-1] += [published, gap, f"{row.parameters:,}", f"{1000 * row.seconds_per_epoch:.1f}"]
    return rows


def demo() -> str:
    """Return what ``make demo`` prints, from the committed records of its suite."""
    suite = SUITES.card("demo")
    keep = [COLUMNS.index(c) for c in ("model", "test ± 95 % CI", "to the best", "parameters", "CPU ms/epoch")]
    rows = [row for board in _boards() if board.benchmark.partition("@")[0] in suite.benchmarks for row in _rows(board)]
    return markdown([COLUMNS[i] for i in keep], [[row[i] for i in keep] for row in rows])


def results() -> str:
    """Return the table of results on the field's benchmarks."""
    embedded = {name for name in DATASETS.names() if DATASETS.card(name).embedded}
    found = [board for board in _boards() if board.benchmark.partition("@")[0] not in embedded]
    table = markdown(COLUMNS, [row for board in found for row in _rows(board)])
    metrics = sorted({f"{b.metric}{' (%)' if METRICS[b.metric].percent else ''}" for b in found})
    others = sum(board.others for board in found)
    note = f"Test {', '.join(metrics)}." + (f" {others} records of other settings are not shown." if others else "")
    return f"{table}\n\n{note}"


TABLES = {"demo": demo, "models": models, "datasets": datasets, "results": results}


def render(text: str) -> str:
    """Return a text with everything between ``<!-- table: x -->`` and ``<!-- end -->`` made anew."""

    def replace(match: re.Match[str]) -> str:
        return f"<!-- table: {match[1]} -->\n{TABLES[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->\n.*?<!-- end -->", replace, text, flags=re.DOTALL)


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where something would change")
    check = parser.parse_args().check
    path = ROOT / "README.md"
    old = path.read_text(encoding="utf-8")
    new = render(old)
    if old == new:
        return 0
    if not check:
        write_text(path, new)
        print(f"{path.name}: tables written")
        return 0
    print("".join(difflib.unified_diff(old.splitlines(True), new.splitlines(True), "README.md", "as generated")))
    print("README.md differs from what it is made of: run `make tables`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
