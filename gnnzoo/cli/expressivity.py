"""``gnnzoo expressivity``: which graphs a model tells apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gnnzoo.cli import show
from gnnzoo.runner.config import parse_arguments

if TYPE_CHECKING:
    from gnnzoo.leaderboard import Record
    from gnnzoo.runner.expressivity import Question

__all__ = ["command"]


def command(
    arguments: Annotated[list[str] | None, typer.Argument(help="key=value ...", show_default=False)] = None,
) -> None:
    """Count the pairs of graphs that models tell apart, by BREC's test on relabelled copies; float64, random weights.

    Choose: model=a,b suite=brec,sr,csl,exp,graph8c,substructures dataset=a,b seeds= results=DIR root=DIR device=
    threads=. Default: all suites but substructures, which are counted by models that are trained to.

    Set: model.x= data.x= strategy.x= (gnnzoo info rpc lists them). What has a record is not done again.
    """
    from gnnzoo.runner.expressivity import answer, questions

    found, execution, training = questions(parse_arguments(arguments or []))
    records = answer(found, execution, training, _say)
    pairs = [r for r in records if r.result.metric == "separated"]
    if pairs:
        columns = [
            "model",
            "set",
            "seed",
            "pairs",
            "separated",
            "1-WL leaves",
            "of these separated",
            "controls",
            "seconds",
        ]
        show.console().print(show.table(columns, map(_row, pairs), "", range(2, 9)))
    trained = [r for r in records if r.result.metric != "separated"]
    if trained:
        lines = [[r.key.model, r.key.benchmark, r.key.config, f"{r.result.test[r.result.metric]:.4f}"] for r in trained]
        show.console().print(
            show.table(["model", "counts", "configuration", trained[0].result.metric], lines, "", (3,))
        )
    show.console().print(f"records in {execution.results}", markup=False)


def _row(record: Record) -> list[str]:
    test = {name: int(value) for name, value in record.result.test.items()}
    controls = f"{test['controls_separated']} of {test['controls']}"
    failed = f" ({test['not_finite']} graphs not finite)" * bool(test["not_finite"])
    return [
        record.key.model,
        record.key.benchmark,
        str(record.key.seed),
        f"{test['pairs']:,}",
        f"{test['separated']:,}{failed}",
        f"{test['wl_leaves']:,}",
        f"{test['beyond_wl']:,}",
        controls,
        f"{record.cost.seconds:.1f}",
    ]


def _say(question: Question, record: Record, made: bool) -> None:
    test = record.result.test
    before = "" if made else ", recorded before"
    typer.echo(f"{question}: {test['separated']:,.0f} of {test['pairs']:,.0f} pairs separated{before}", err=True)
