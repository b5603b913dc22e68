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
from gnnzoo.cards import DatasetCard
from gnnzoo.leaderboard.render import demo_table, markdown, results_table
from gnnzoo.registry import DATASETS, MODELS, SUITES
from gnnzoo.runner.standings import standings

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "leaderboards" / "results"


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


def demo() -> str:
    """Return what ``make demo`` prints, from the committed records of its suite."""
    return demo_table(standings("demo", results=RESULTS, models=SUITES.card("demo").models))


def results() -> str:
    """Return the table of results on the field's benchmarks."""
    embedded = {name for name in DATASETS.names() if DATASETS.card(name).embedded}
    return results_table([b for b in standings(results=RESULTS) if b.benchmark.partition("@")[0] not in embedded])


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
