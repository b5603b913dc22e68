"""The schemas of all YAML metadata: models, strategies, datasets, suites. One place, without torch.

A key that a schema does not know is an error, so that a typo in a card never passes for a setting.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

__all__ = [
    "METRICS",
    "Card",
    "DatasetCard",
    "Metric",
    "ModelCard",
    "Paper",
    "Protocol",
    "Published",
    "Setting",
    "StrategyCard",
    "SuiteCard",
    "TaskName",
]

TaskName = Literal["node", "inductive-node", "graph"]
"""``node``: one graph, split over its nodes; ``inductive-node``: many graphs, split whole; ``graph``: a label each."""

Structure = Literal["graph", "hypergraph", "heterogeneous"]
Target = Literal["multiclass", "binary", "multilabel", "regression"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")]
Section = dict[str, Any]


class Metric(BaseModel):
    """What a number means: its direction and whether papers print it in per cent."""

    model_config = ConfigDict(frozen=True)
    higher_is_better: bool
    percent: bool


METRICS: dict[str, Metric] = {
    "accuracy": Metric(higher_is_better=True, percent=True),
    "roc_auc": Metric(higher_is_better=True, percent=True),
    "micro_f1": Metric(higher_is_better=True, percent=True),
    "macro_f1": Metric(higher_is_better=True, percent=True),
    "mae": Metric(higher_is_better=False, percent=False),
    "rmse": Metric(higher_is_better=False, percent=False),
}


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Paper(_Schema):
    """Where a method comes from."""

    title: str
    authors: str
    year: int
    arxiv: str | None = None
    code: str | None = None
    licence: str | None = None


class Published(_Schema):
    """A number in print, in the paper's unit (per cent where :data:`METRICS` says so)."""

    metric: str
    mean: float
    std: float | None = None
    n: PositiveInt | None = None
    source: str


class Defaults(_Schema):
    """What a card sets for every benchmark."""

    model: Section = {}
    train: Section = {}
    data: Section = {}
    strategy: Section = {}


class Setting(Defaults):
    """Values for one benchmark, with where they were found."""

    source: str


class Card(_Schema):
    """What all cards share."""

    name: Name
    aliases: list[str] = []
    summary: str

    def facets(self) -> dict[str, set[str]]:
        """Return what ``list`` can filter by."""
        return {}

    @property
    def object_path(self) -> str:
        """The dotted path of what the card describes."""
        raise TypeError(f"a {type(self).__name__} describes no object")


class _MethodCard(Card):
    """What models and strategies share: a class, a paper, the paper's values."""

    class_: str = Field(alias="class")
    equation: str = ""
    paper: Paper | None = None
    deviations: list[str] = []
    tasks: list[TaskName] = Field(min_length=1)
    structures: list[Structure] = Field(min_length=1)
    tiny: Section = {}
    defaults: Defaults = Defaults()
    search: dict[str, Section] = {}
    datasets: dict[str, Setting] = {}
    protocols: dict[str, str] = {}  # dataset -> the published setting's, where not the default
    published: dict[str, Published] = {}

    def facets(self) -> dict[str, set[str]]:
        """Return what ``list`` can filter by."""
        return {"task": set(self.tasks), "structure": set(self.structures)}

    @property
    def object_path(self) -> str:
        """The dotted path of the class."""
        return self.class_


class ModelCard(_MethodCard):
    """``configs/models/<name>.yaml``: the only home of a model's metadata."""

    parameter_groups: list[str] = []
    parameters: dict[str, PositiveInt] = {}
    exceptions: dict[str, str] = {}


class StrategyCard(_MethodCard):
    """``configs/strategies/<name>.yaml``: a way to train that is not plain empirical risk minimisation."""


class Protocol(_Schema):
    """One way to evaluate a dataset: splits, metric, and how the reported epoch is selected."""

    summary: str
    splits: PositiveInt
    metric: str
    selection: Literal["validation", "on-test"] = "validation"
    source: str = ""

    @model_validator(mode="after")
    def _known_metric(self) -> Protocol:
        if self.metric not in METRICS:
            raise ValueError(f"unknown metric {self.metric!r}; choose from {', '.join(METRICS)}")
        return self


class Counts(_Schema):
    """Published sizes of a dataset; a loader's result must agree. Edges are the columns of ``edge_index`` as loaded."""

    graphs: PositiveInt = 1
    nodes: PositiveInt
    edges: NonNegativeInt
    features: NonNegativeInt
    hyperedges: NonNegativeInt | None = None


class DatasetCard(Card):
    """``configs/datasets/<name>.yaml``: what a dataset is, how it is evaluated, and what is wrong with it."""

    family: str
    loader: str
    task: TaskName
    structure: Structure = "graph"
    target: Target = "multiclass"
    num_outputs: PositiveInt
    counts: Counts
    protocols: dict[Name, Protocol] = Field(min_length=1)
    default_protocol: str
    homophily: float | None = None
    licence: str = "not stated"
    source: str = ""
    url: str = ""
    root: str = ""
    files: dict[str, str] = {}
    health: list[str] = []
    defaults: Defaults = Defaults()

    @model_validator(mode="after")
    def _default_is_a_protocol(self) -> DatasetCard:
        if self.default_protocol not in self.protocols:
            raise ValueError(f"default_protocol {self.default_protocol!r} is not among protocols")
        return self

    @property
    def object_path(self) -> str:
        """The dotted path of the loader."""
        return self.loader

    @property
    def embedded(self) -> bool:
        """Whether the dataset needs no file and no network."""
        return not self.files

    def facets(self) -> dict[str, set[str]]:
        """Return what ``list`` can filter by."""
        return {
            "task": {self.task},
            "structure": {self.structure},
            "family": {self.family},
            "embedded": {str(self.embedded).lower()},
        }


class SuiteCard(Card):
    """``configs/suites/<name>.yaml``: models and benchmarks that are run and shown together."""

    models: list[str] = Field(min_length=1)
    benchmarks: list[str] = Field(min_length=1)
    settings: Defaults = Defaults()
