"""``gnnzoo expressivity``: which graphs a model tells apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gnnzoo.cli import show
from gnnzoo.runner.config import parse_arguments

if TYPE_CHECKING:
    from gnnzoo.leaderboard import Record, Store
    from gnnzoo.runner.expressivity import Question

__all__ = ["command"]


def command(
    arguments: Annotated[list[str] | None, typer.Argument(help="key=value ...", show_default=False)] = None,
) -> None:
    """Count the pairs of graphs that models tell apart, by BREC's test on relabelled copies; float64, random weights.

    Choose: model=a,b suite=brec,sr,csl,exp,graph8c,substructures dataset=a,b seeds= results=DIR root=DIR device=
    threads=. Default: all suites but substructures, which trains models to count, too: the error is a share of the
    variance, 1 for whoever answers the mean.

    Set: model.x= data.x= strategy.x= (gnnzoo info rpc lists them). What has a record is not done again.
    """
    from gnnzoo.leaderboard import Store
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
        store = Store(execution.results)
        lines = [[r.key.model, _counted(store, r), str(r.key.seed), f"{r.result.test['nmse']:.4f}"] for r in trained]
        show.console().print(show.table(["model", "counts", "seed", "test nmse"], lines, "", (2, 3)))
    show.console().print(f"records in {execution.results}", markup=False)


def _counted(store: Store, record: Record) -> str:
    """Return which substructure a model was trained to count."""
    config = store.config(record.key.config) or {}
    return str(config.get("dataset", {}).get("target", record.key.config))


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
