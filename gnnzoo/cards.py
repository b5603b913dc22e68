"""The schemas of all YAML metadata: models, strategies, datasets, suites. One place, without torch.

A key that a schema does not know is an error, so that a typo in a card never passes for a setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, field_validator, model_validator

__all__ = [
    "METRICS",
    "Card",
    "Claim",
    "Counts",
    "DatasetCard",
    "Domain",
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

TaskName = Literal["node", "inductive-node", "graph", "edge-dependent-node", "link", "distinguish"]
"""What is predicted, and so what the rows of ``y`` and the indices of a split are.

``node``: nodes of one graph; ``inductive-node``: nodes of many graphs, split by graph; ``graph``: graphs;
``edge-dependent-node``: incidences of one hypergraph; ``link``: the pairs in ``edge_label_index`` of one graph;
``distinguish``: nothing is learnt: graphs of one ``group`` whose ``y`` differ must be told apart, and there are no
splits. Sets of another task can have a protocol of that kind too; its metric is ``separated``.
"""

Structure = Literal["graph", "hypergraph", "heterogeneous"]
Target = Literal["multiclass", "binary", "multilabel", "regression"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")]
Section = dict[str, Any]


class Metric(BaseModel):
    """What a number means: its direction, whether papers print it in per cent, else with how many decimals."""

    model_config = ConfigDict(frozen=True)
    higher_is_better: bool
    percent: bool
    decimals: int = 4


METRICS: dict[str, Metric] = {
    "accuracy": Metric(higher_is_better=True, percent=True),
    "balanced_accuracy": Metric(higher_is_better=True, percent=True),
    "roc_auc": Metric(higher_is_better=True, percent=True),
    "micro_f1": Metric(higher_is_better=True, percent=True),
    "macro_f1": Metric(higher_is_better=True, percent=True),
    "mae": Metric(higher_is_better=False, percent=False),
    "rmse": Metric(higher_is_better=False, percent=False),
    "nmse": Metric(higher_is_better=False, percent=False),
    "average_precision": Metric(higher_is_better=True, percent=True),
    "hits@20": Metric(higher_is_better=True, percent=True),
    "hits@50": Metric(higher_is_better=True, percent=True),
    "separated": Metric(higher_is_better=True, percent=False, decimals=0),
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


Scalar = bool | int | float | str | None


class Domain(_Schema):
    """What tuning may set a key to: ``choices``, or all numbers from ``low`` to ``high``, whole ones if both are whole.

    Args:
        choices: the values.
        low: the smallest number.
        high: the largest.
        step: between numbers; None: any (of whole numbers every one).
        log: numbers are drawn evenly by their logarithm.
    """

    choices: list[Scalar] | None = None
    low: int | float | None = None
    high: int | float | None = None
    step: int | float | None = None
    log: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> Domain:
        numbers = (self.low, self.high, self.step)
        if self.choices is not None:
            if not self.choices or numbers != (None, None, None) or self.log:
                raise ValueError("choices: one or more, and nothing beside them")
        elif self.low is None or self.high is None:
            raise ValueError("either choices, or low and high")
        elif self.low > self.high or (self.log and self.low <= 0) or (self.step is not None and self.step <= 0):
            raise ValueError("low is at most high (above 0 with log), step is above 0")
        elif self.log and self.step is not None:
            raise ValueError("log and step exclude each other")
        return self

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole ones."""
        return isinstance(self.low, int) and isinstance(self.high, int) and isinstance(self.step, int | None)

    @property
    def ends(self) -> list[Scalar]:
        """What must be possible so that all of it is."""
        return self.choices if self.choices is not None else [self.low, self.high]


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
    search: dict[str, Domain] = {}
    datasets: dict[str, Setting] = {}  # by dataset@protocol; of a model with a strategy dataset@protocol+strategy
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

    golden: str = ""  # whose replay and golden cases cover it, where they do not bear the model's own name
    strategy: str = ""  # how it is trained unless a run says otherwise, where that is not plain training
    parameter_groups: list[str] = []
    parameters: dict[str, PositiveInt] = {}
    exceptions: dict[str, str] = {}


class StrategyCard(_MethodCard):
    """``configs/strategies/<name>.yaml``: a way to train that is not plain empirical risk minimisation."""


class Shift(_Schema):
    """How test data differ from training data, and which parts of a split show what that costs.

    A part is ``test``, or one of :attr:`gnnzoo.datasets.Split.extra`; a record has the metric on every one.
    """

    what: str = Field(min_length=1)  # what is another in test, in words
    in_distribution: str | None = None  # the part that is like training; None: there is none
    shifted: list[str] = Field(min_length=1)


class Protocol(_Schema):
    """One way to evaluate a dataset: splits, metric, and how the reported epoch is selected."""

    summary: str
    splits: NonNegativeInt
    metric: str
    seeds: PositiveInt = 1  # how many a run has unless it says otherwise, and how many a complete row has
    selection: Literal["validation", "on-test"] = "validation"
    source: str = ""
    evaluator: str = ""  # the name under which OGB's Evaluator scores it
    shift: Shift | None = None  # where test is unlike training on purpose
    digest: str = ""  # of the data as loaded
    hash: str = ""  # of all splits; tools/card_identity.py writes both

    @model_validator(mode="after")
    def _known_metric(self) -> Protocol:
        if self.metric not in METRICS:
            raise ValueError(f"unknown metric {self.metric!r}; choose from {', '.join(METRICS)}")
        return self


class Claim(_Schema):
    """A known leak, error or peculiarity of a dataset, and how ``gnnzoo data check`` finds it again.

    Args:
        says: one line; ``{value}`` in it stands for :attr:`value`, so that text and number cannot part.
        measure: a function of :mod:`gnnzoo.datasets.health` or a dotted path, called with the bundle and its raw
            files; empty where nothing in the files can show it.
        value: what it must return.
        tolerance: how far a number may be off; whole numbers must be equal unless it is given.
        protocols: those that it holds for; empty: all.
        warn: a leak or error that spoils comparisons: ``gnnzoo run`` says it.
        unless: settings with which a run need not say it, such as ``{data.undirected: true}``.
    """

    says: str
    measure: str = ""
    value: Any = None
    tolerance: float = Field(0.0, ge=0)
    protocols: list[Name] = []
    warn: bool = False
    unless: Section = {}

    @model_validator(mode="after")
    def _complete(self) -> Claim:
        if bool(self.measure) != (self.value is not None):
            raise ValueError("measure and value belong together")
        _ = self.text
        return self

    @property
    def text(self) -> str:
        """What is shown.

        Raises:
            ValueError: ``says`` is no format string for ``value``.
        """
        if self.value is None:
            return self.says
        try:
            return self.says.format(value=self.value)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"says does not fit value: {error}") from None


class Counts(_Schema):
    """Published sizes of a dataset; a loader's result must agree. Edges are the columns of ``edge_index`` as loaded.

    Sizes are sums over all graphs, and over all node and edge types of a heterogeneous graph, whose own sizes stand in
    ``node_types`` and ``edge_types`` (``author to paper: 19645``). Features are those of the nodes that have labels.
    """

    graphs: PositiveInt = 1
    nodes: PositiveInt
    edges: NonNegativeInt = 0
    features: NonNegativeInt
    hyperedges: NonNegativeInt | None = None
    incidences: NonNegativeInt | None = None
    node_types: dict[str, NonNegativeInt] | None = None
    edge_types: dict[str, NonNegativeInt] | None = None


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
    categories: dict[str, list[PositiveInt]] = {}  # columns of whole numbers that mean kinds: how many kinds each
    homophily: float | None = None
    licence: str = "not stated"
    source: str = ""
    url: str = ""
    root: str = ""
    files: dict[str, str | None] = {}  # sha256 of the uncompressed content; None where nobody has published it
    rebuilt: list[str] = []  # files (or globs) that were written anew: upstream's have other bytes
    size: PositiveInt | None = None  # bytes of all raw files, uncompressed
    download: str = ""  # the address below which the files lie one by one, where no class of PyG or OGB fetches them
    health: list[Claim] = []
    unranked: str = ""  # why no leaderboard may rank models by it
    defaults: Defaults = Defaults()

    @field_validator("health", mode="before")
    @classmethod
    def _plain_text_is_a_claim(cls, value: Any) -> Any:
        return [{"says": item} if isinstance(item, str) else item for item in value or []]

    @model_validator(mode="after")
    def _fits_together(self) -> DatasetCard:
        if self.default_protocol not in self.protocols:
            raise ValueError(f"default_protocol {self.default_protocol!r} is not among protocols")
        for name, protocol in self.protocols.items():
            if (protocol.splits == 0) != (protocol.metric == "separated"):
                raise ValueError(f"protocol {name!r}: 0 splits and the metric separated belong together")
            if protocol.splits and self.task == "distinguish":
                raise ValueError(f"protocol {name!r}: splits must be 0")
        for claim in self.health:
            for name in claim.protocols:
                if name not in self.protocols:
                    raise ValueError(f"health: {name!r} is not among protocols")
        return self

    def warnings(self, protocol: str, settings: Mapping[str, Any] | None = None) -> list[str]:
        """Return what whoever uses a protocol must be told: leaks, errors, selection on test.

        Args:
            protocol: one of the card's.
            settings: of the run, by dotted key; they can make a note superfluous.
        """
        said = [
            claim.text
            for claim in self.health
            if claim.warn
            and (not claim.protocols or protocol in claim.protocols)
            and not any((settings or {}).get(key) == value for key, value in claim.unless.items())
        ]
        if self.protocols[protocol].selection == "on-test":
            said.append(
                "this protocol selects on test (all splits are read at the one epoch that is best on their mean); its "
                "numbers are never ranked beside clean ones"
            )
        return said + [f"no leaderboard ranks models by it: {self.unranked}"] * bool(self.unranked)

    @property
    def object_path(self) -> str:
        """The dotted path of the loader."""
        return self.loader

    def was_rebuilt(self, file: str) -> bool:
        """Whether the checksum of a raw file is not that of upstream's bytes."""
        return any(fnmatchcase(file, pattern) for pattern in self.rebuilt)

    @property
    def embedded(self) -> bool:
        """Whether the dataset needs no file and no network."""
        return not self.files

    @property
    def seen(self) -> bool:
        """Whether this package's authors had all raw files, so that counts and checksums were checked on them."""
        return None not in self.files.values()

    def facets(self) -> dict[str, set[str]]:
        """Return what ``list`` can filter by."""
        return {
            "task": {self.task},
            "structure": {self.structure},
            "family": {self.family},
            "embedded": {str(self.embedded).lower()},
        }


class SuiteCard(Card):
    """``configs/suites/<name>.yaml``: models and benchmarks that are run and shown together.

    Models are names or globs: ``"*"`` stands for all that fit, also those that are registered later. Benchmarks are
    ``dataset@protocol``. What does not fit a benchmark is left out there, and one that no model fits waits for a model.
    """

    models: list[str] = Field(min_length=1)
    benchmarks: list[str] = Field(min_length=1)
    settings: Defaults = Defaults()
