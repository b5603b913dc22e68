"""Pages say what the records say, all of it, and a folder that does not is noticed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gnnzoo.cards import SuiteCard
from gnnzoo.cli import main
from gnnzoo.datasets import load_dataset
from gnnzoo.leaderboard import Record, Store, render
from gnnzoo.leaderboard.boards import Apart, Board, compare, method
from gnnzoo.leaderboard.render import check, demo_table, results_table, site, write
from gnnzoo.leaderboard.stats import summarize
from gnnzoo.registry import DATASETS, MODELS
from gnnzoo.runner.config import resolve

FROZEN = json.loads((Path(__file__).parent / "record-schema-1.jsonl").read_text().splitlines()[0])
TEXAS, WISCONSIN, CORA = "texas@geom-gcn", "wisconsin@geom-gcn", "cora@public"


def records(benchmark, model, values, seeds=1, metric="accuracy", **cost):
    """Return a record per split × seed; every seed of a split has the split's value."""
    made = []
    for split, value in enumerate(values):
        for seed in range(seeds):
            line = json.loads(json.dumps(FROZEN))
            line["key"] |= {"benchmark": benchmark, "model": model, "split": split, "seed": seed}
            line["key"] |= {"split_hash": f"{split:016x}", "config": f"{model:0>16.16}"}
            line["result"] |= {"metric": metric, "test": {metric: value}, "val": {metric: value}}
            line["cost"] |= {"date": f"2026-01-0{1 + split % 9}T00:00:00+00:00", "commit": "abc123"} | cost
            made.append(Record.model_validate(line))
    return made


def make_board(benchmark, values, splits=None, **changes):
    """Return a board of ``{model: metric per split}``, or of records."""
    groups = {m: v if isinstance(v[0], Record) else records(benchmark, m, v) for m, v in values.items()}
    dataset, _, protocol = benchmark.partition("@")
    card = DATASETS.card(dataset)
    published = {m: MODELS.card(m).published[benchmark] for m in groups if benchmark in MODELS.card(m).published}
    rows = compare(groups, published, splits, ranked=not (changes.get("unranked") or card.unranked))
    board = Board(
        benchmark=benchmark,
        metric=card.protocols[protocol].metric,
        splits=card.protocols[protocol].splits,
        selection=card.protocols[protocol].selection,
        unranked=card.unranked,
        data="0123456789abcdef",
        method=method(card.protocols[protocol].splits),
        rows=rows,
        apart=[],
        not_run=[],
    )
    return replace(board, **changes)


def noisy(mean, n=10, seed=0, std=0.03):
    return list(np.random.default_rng(seed).normal(mean, std, n))


def a_board(benchmark=TEXAS, **changes):
    values = {"sheaf": noisy(0.87), "mlp": noisy(0.86, seed=1), "gcn": noisy(0.6, seed=2)}
    return make_board(benchmark, values, **changes)


def suite(*benchmarks, name="webs"):
    return SuiteCard(name=name, summary="pages of universities", models=["*"], benchmarks=list(benchmarks))


def page(board, *others, suites=()):
    return site([board, *others], suites).pages[f"{board.benchmark}.md"]


def table_row(text, start):
    """Return the cells of the row that begins with ``start``."""
    (line,) = [line for line in text.splitlines() if re.match(rf"\| {re.escape(start)} \|", line)]
    return [cell.strip() for cell in line.strip("|").split(" | ")]


# --- a benchmark's page -----------------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_records():
    values = noisy(0.87)
    text = page(make_board(TEXAS, {"sheaf": values, "gcn": noisy(0.6, seed=2)}))
    low, high = stats.t.interval(0.95, 9, np.mean(values), stats.sem(values))
    mean = f"**{100 * np.mean(values):.2f} ± {100 * (high - low) / 2:.2f}** *"
    row = table_row(text, "1")
    published = MODELS.card("sheaf").published[TEXAS]
    assert row[1:6] == ["`sheaf`", mean, f"{100 * np.std(values, ddof=1):.2f}", "10 × 1", "best"]
    assert row[7] == f"{100 * np.mean(values) - published.mean:+.2f}"


def test_a_page_states_how_its_numbers_were_made():
    board = a_board(not_run=["dagnn"])
    text = page(board)
    card = DATASETS.card("texas")
    for stated in (
        "Student's t, where n is the number of splits",
        "corrected resampled t-test (Nadeau and Bengio, 2003)",
        "Holm",
        board.rows[0].hardware,
        "commit",
        "`abc123`",
        "2026-01-01 to 2026-01-09",
        f"digest `{board.data}`",
        f"hash `{card.protocols['geom-gcn'].hash}`",
        "selected on validation",
        MODELS.card("gcn").published[TEXAS].source,
        MODELS.card("gcn").datasets[TEXAS].source,
        "**Not run**, though they fit: `dagnn`",
        *card.warnings("geom-gcn"),
    ):
        assert stated in text, stated


def test_the_best_and_what_is_not_worse_are_marked():
    text = page(a_board())
    assert table_row(text, "1")[2].endswith("** *")
    assert table_row(text, "2")[2].endswith("** *")
    assert "*" not in table_row(text, "3")[2]
    assert re.fullmatch(r"-\d+\.\d\d \(p < 0\.001\)", table_row(text, "3")[5])


def test_a_single_value_has_no_interval():
    text = page(make_board(CORA, {"gcn": [0.81], "mlp": [0.6]}))
    row = table_row(text, "1")
    assert row[2] == "**81.00** *"
    assert row[3:5] == ["", "1 × 1"]
    assert table_row(text, "2")[2] == "60.00"
    assert "(p" not in table_row(text, "2")[5]


def test_missing_splits_are_said_and_not_ranked():
    text = page(make_board(TEXAS, {"sheaf": noisy(0.9, 7), "gcn": noisy(0.6)}, splits=10))
    (line,) = [line for line in text.splitlines() if "7 of 10 × 1" in line]
    assert line.startswith("|  | `sheaf` |")
    assert table_row(text, "1")[1] == "`gcn`"
    assert "without a record of every split has no rank" in text


def test_what_is_apart_is_listed_with_its_reason_and_its_own_metric():
    found = records(TEXAS, "gcn", [0.5, 0.7], metric="roc_auc")
    apart = Apart("gcn", "other settings: train.lr=1", tuple(found), summarize([0.5, 0.7]))
    text = page(a_board(apart=[apart]))
    row = table_row(text.split("## Apart")[1].split("##")[0], "`gcn`")
    assert row[1:3] == ["other settings: train.lr=1", "2"]
    assert row[3].startswith("60.00 ±")
    assert row[3].endswith("%, roc_auc")


def test_nobody_is_ranked_where_nobody_may_be():
    board = a_board("cornell_legacy@geom-gcn")
    made = site([board], [])
    text = made.pages["cornell_legacy@geom-gcn.md"]
    assert f"Nobody is ranked by this benchmark: {board.unranked}" in text
    assert "** *" not in text
    assert "cornell_legacy@geom-gcn-pareto" not in made.drawings  # a front is a ranking
    assert made.drawings["cornell_legacy@geom-gcn-intervals"].data["panels"][0]["rows"][0][4] == "unranked"
    assert "cornell_legacy@geom-gcn" in made.pages["README.md"].split("## Not ranked")[1]


def test_other_hardware_gets_a_column_and_a_panel_of_its_own():
    groups = {
        model: records(TEXAS, model, noisy(0.8, seed=i), processor=place)
        for i, (model, place) in enumerate([("sheaf", "old"), ("mlp", "old"), ("gcn", "new"), ("dagnn", "new")])
    }
    made = site([make_board(TEXAS, groups)], [])
    text = made.pages[f"{TEXAS}.md"]
    assert "| hardware |" in text
    assert "All on" not in text
    panels = made.drawings[f"{TEXAS}-pareto"].data["panels"]
    assert [sorted(point[0] for point in panel["points"]) for panel in panels] in (
        [["mlp", "sheaf"], ["dagnn", "gcn"]],
        [["dagnn", "gcn"], ["mlp", "sheaf"]],
    )


def test_tried_configurations_and_origins_are_shown_where_there_are_any():
    board = make_board(TEXAS, {"gcn": records(TEXAS, "gcn", noisy(0.6), origin="their cluster")})
    assert "Tuning budget: none is recorded" in page(board)
    assert table_row(page(board).split("come from")[1], "`gcn`")[-1] == "their cluster"
    board = replace(board, rows=[replace(row, trials=200) for row in board.rows])
    assert table_row(page(board), "1")[-1] == "200"
    assert "| configurations tried |" in page(board)


def test_a_number_in_print_of_another_metric_has_no_gap():
    board = a_board()
    other = board.rows[0].published.model_copy(update={"metric": "roc_auc"})
    board = replace(board, rows=[replace(board.rows[0], published=other), *board.rows[1:]])
    row = table_row(page(board), "1")
    assert row[6].endswith("(roc_auc)")
    assert row[7] == ""
    assert site([board], []).drawings[f"{TEXAS}-intervals"].data["panels"][0]["rows"][0][5] is None


def test_a_benchmark_that_nobody_knows_has_a_page():
    found = Apart("gcn", "unknown dataset 'gone'", tuple(records("gone@x", "gcn", [0.5])), summarize([0.5]))
    made = site([Board("gone@x", "accuracy", 0, "validation", "unknown dataset 'gone'", "", "", [], [found], [])], [])
    assert "No records can be compared." in made.pages["gone@x.md"]
    assert "unknown dataset 'gone'" in made.pages["README.md"]


# --- suites -----------------------------------------------------------------------------------------------------------


def test_a_suite_shows_models_by_average_rank():
    first = make_board(TEXAS, {"gcn": noisy(0.9), "mlp": noisy(0.6, seed=1)}, not_run=["sheaf"])
    second = make_board(WISCONSIN, {"gcn": noisy(0.9), "mlp": noisy(0.6, seed=1), "sheaf": noisy(0.95, seed=3)})
    text = site([first, second], [(suite(TEXAS, WISCONSIN, "actor"), [first, second])]).pages["webs.md"]
    rows = [table_row(text, f"`{model}`") for model in ("gcn", "mlp", "sheaf")]
    assert [row[1] for row in rows] == ["1.00", "2.00", "(1.00 on 1)"]
    assert rows[2][2] == "not run"
    assert text.index("| `mlp` |") < text.index("| `sheaf` |")  # the complete ones first
    assert "**Not run**, for all models: `actor@geom-gcn`" in text


def test_what_selects_on_test_never_stands_beside_clean_numbers():
    clean, other = a_board(TEXAS), a_board(WISCONSIN, selection="on-test")
    made = site([clean, other], [(suite(TEXAS, WISCONSIN), [clean, other])])
    text = made.pages["webs.md"]
    before, after = text.split("## Not ranked with the others")
    assert TEXAS in before
    assert WISCONSIN not in before
    assert WISCONSIN in after
    assert "| average rank |" not in text
    index = made.pages["README.md"]
    assert WISCONSIN not in index.split("## Selected on test")[0]
    titles = [panel["title"] for panel in made.drawings["webs-intervals"].data["panels"]]
    assert titles == [TEXAS, f"{WISCONSIN} (selected on test)"]
    assert WISCONSIN not in results_table([clean, other])


def many(benchmarks, shuffled):
    """Return boards on which three models have the same order everywhere, or another everywhere."""
    means = [0.9, 0.7, 0.5]
    return [
        make_board(b, {m: noisy(means[(i + shuffled * j) % 3], seed=i) for i, m in enumerate(("gcn", "mlp", "sheaf"))})
        for j, b in enumerate(benchmarks)
    ]


WEBS = [f"{name}@geom-gcn" for name in ("texas", "wisconsin", "cornell", "chameleon", "squirrel", "actor")]


def test_a_diagram_of_ranks_where_they_differ():
    boards = many(WEBS, shuffled=False)
    made = site(boards, [(suite(*WEBS), boards)])
    assert made.drawings["webs-ranks"].data["ranks"] == [["gcn", 1.0], ["mlp", 2.0], ["sheaf", 3.0]]
    text = made.pages["webs.md"]
    assert "figures/webs-ranks.svg" in text
    assert "Ranks differ over 6 benchmarks with 3 models" in text
    assert "1.35 at level 0.05" in text  # 2.343 * sqrt(3 * 4 / 36), Demšar's table 5


@pytest.mark.parametrize(
    ("boards", "why"),
    [
        (many(WEBS[:2], False), "the largest that ranks can have, 2"),
        (many(WEBS, True), "do not differ by more than chance over 6 benchmarks"),
        ([make_board(b, {"gcn": noisy(0.9), "mlp": noisy(0.6, seed=1)}) for b in WEBS], "2 models are ranked on all 6"),
        ([make_board(b, {"gcn": noisy(0.9)}) for b in WEBS], "no benchmark has two ranked models"),
    ],
)
def test_no_diagram_and_why(boards, why):
    made = site(boards, [(suite(*WEBS), boards)])
    assert "webs-ranks" not in made.drawings
    assert why in made.pages["webs.md"]
    assert "webs-ranks" not in made.pages["webs.md"]


def test_pages_lead_to_each_other_and_pictures_are_there():
    boards = [*many(WEBS, False), a_board(CORA), a_board("cornell_legacy@geom-gcn")]
    made = site(boards, [(suite(*WEBS), boards), (suite("pubmed", name="empty"), boards)], reproduction="x.md")
    assert "empty.md" not in made.pages
    seen = set()
    for name, text in made.pages.items():
        for target in re.findall(r"\]\(([^)]+)\)", text):
            if target.startswith("figures/"):
                seen.add(target.removeprefix("figures/").removesuffix(".svg"))
            elif not target.startswith("results") and target != "x.md":
                assert target in made.pages, (name, target)
    assert seen == set(made.drawings)
    assert {b.benchmark for b in boards} <= {m[:-3] for m in re.findall(r"\]\(([^)]+)\)", made.pages["README.md"])}


def test_the_same_records_give_the_same_pages():
    first, second = (site(b, [(suite(*WEBS), b)]) for b in (many(WEBS, False), many(WEBS, False)))
    assert first == second


# --- README -----------------------------------------------------------------------------------------------------------


def test_readme_tables_have_the_same_numbers_as_the_pages():
    board = a_board()
    cells = table_row(page(board), "1")
    (line,) = [line for line in results_table([board]).splitlines() if "`sheaf`" in line]
    assert line.split(" | ")[3:9] == cells[2:8]
    assert f"| `sheaf` | {cells[2]} | best |" in demo_table([board])


def test_what_the_readme_leaves_out_is_counted():
    assert "30 other records" in results_table([a_board(), a_board("cornell_legacy@geom-gcn")])
    assert results_table([]).endswith("No records.")


# --- on disk ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Return a function that calls ``gnnzoo leaderboard render`` in an empty folder: status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr("sys.argv", ["gnnzoo", "leaderboard", "render", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        seen = capsys.readouterr()
        return int(stop.value.code or 0), seen.out, seen.err

    return run


@pytest.fixture
def results(tmp_path):
    """Return a folder with records of karate, of the shipped configuration and of another."""
    store = Store(tmp_path / "leaderboards" / "results")
    protocol = DATASETS.card("karate").protocols["random-48-32-20"]
    hashes = [split.hash for split in load_dataset("karate").splits]
    for model, config in (("gcn", resolve("gcn", "karate").hash), ("mlp", "of other settings")):
        for r in records("karate@random-48-32-20", model, noisy(0.8, protocol.splits)):
            key = r.key.model_copy(
                update={"data": protocol.digest, "split_hash": hashes[r.key.split], "config": config}
            )
            store.append(r.model_copy(update={"key": key}))
    return store.folder


def test_the_command_writes_and_checks(call, results, tmp_path):
    status, out, _ = call("--check")
    assert (status, (results.parent / "README.md").exists()) == (1, False)
    assert "leaderboards/karate@random-48-32-20.md: is missing" in out
    status, out, err = call()
    assert (status, err) == (0, "")
    text = (results.parent / "karate@random-48-32-20.md").read_text()
    assert table_row(text, "1")[1] == "`gcn`"
    assert "other settings" in table_row(text.split("## Apart")[1], "`mlp`")[1]
    assert "(results/karate@random-48-32-20/gcn.jsonl)" in text
    assert "`sheaf`" in text.split("**Not run**")[1]
    assert call("--check") == (0, "", "")
    assert call("results=leaderboards/results", f"out={tmp_path / 'leaderboards'}", "--check")[0] == 0
    with open(results / "karate@random-48-32-20" / "gcn.jsonl") as file:
        lines = file.readlines()
    (results / "karate@random-48-32-20" / "gcn.jsonl").write_text("".join(lines[:-1]))
    status, out, err = call("--check")
    assert status == 1
    assert "karate@random-48-32-20.md: line" in out
    assert err == "gnnzoo: 2 files differ from the records: gnnzoo leaderboard render\n"


def test_the_reproduction_page_is_linked_where_there_is_one(call, results):
    assert call()[0] == 0
    assert "reproduction.md" not in (results.parent / "README.md").read_text()
    (results.parent / "reproduction.md").write_text("")
    assert "README.md: line" in call("--check")[1]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["result=x"], "expected results=DIR or out=DIR, got 'result=x'; did you mean 'results'?"),
        (["out=a", "out=b"], "out is given twice"),
        (["results=nowhere", "out=pages"], "results=nowhere has no records"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(call, tmp_path, words, complaint):
    assert call(*words) == (2, "", f"gnnzoo: {complaint}\n")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def made():
    return site([a_board()], [])


@pytest.fixture
def folder(made, tmp_path):
    write(made, tmp_path / "boards")
    return tmp_path / "boards"


def test_what_was_written_passes_the_check_and_is_not_written_again(made, folder, monkeypatch):
    assert check(made, folder) == []
    monkeypatch.setattr(render, "to_bytes", lambda drawing: b"another version of matplotlib")
    assert write(made, folder) == []
    assert check(made, folder) == []


def test_check_writes_nothing(made, tmp_path):
    found = check(made, tmp_path / "none")
    assert f"{TEXAS}.md: is missing" in found
    assert f"figures/{TEXAS}-pareto.svg: is missing" in found
    assert not (tmp_path / "none").exists()


def test_an_edited_page_is_noticed_and_mended(made, folder):
    path = folder / f"{TEXAS}.md"
    path.write_text(path.read_text().replace("± ", "± 1", 1))
    (line,) = check(made, folder)
    assert re.fullmatch(rf"{TEXAS}\.md: line \d+ differs", line)
    assert write(made, folder) == [path.name]
    path.write_text(path.read_text() + "more\n")
    assert "lines, not" in check(made, folder)[0]


def test_an_edited_picture_is_noticed_and_drawn_again(made, folder):
    path = folder / "figures" / f"{TEXAS}-pareto.svg"
    path.write_bytes(path.read_bytes() + b" ")
    assert check(made, folder) == [f"figures/{path.name}: is not the file that was drawn"]
    assert f"figures/{path.name}" in write(made, folder)
    assert check(made, folder) == []


def test_pictures_of_other_numbers_are_noticed(made, folder):
    other = site([make_board(TEXAS, {"sheaf": noisy(0.88), "gcn": noisy(0.6, seed=2)})], [])
    assert f"figures/{TEXAS}-intervals.svg: plots other numbers" in check(other, folder)
    (folder / "figures" / "digests.json").unlink()
    assert f"figures/{TEXAS}-intervals.svg: plots other numbers" in check(made, folder)


def test_what_has_no_records_any_more_is_removed_and_nothing_else(folder):
    (folder / "notes.md").write_text("mine")
    (folder / "figures" / "mine.svg").write_text("mine")
    other = site([a_board(CORA)], [])
    assert f"{TEXAS}.md: belongs to no records" in check(other, folder)
    assert f"figures/{TEXAS}-pareto.svg: belongs to no records" in check(other, folder)
    write(other, folder)
    assert check(other, folder) == []
    assert not (folder / f"{TEXAS}.md").exists()
    assert not (folder / "figures" / f"{TEXAS}-pareto.svg").exists()
    assert (folder / "notes.md").exists()
    assert (folder / "figures" / "mine.svg").exists()
