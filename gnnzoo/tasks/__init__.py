"""What a task means: what is iterated over, what the loss is, how predictions are made and scored."""

from gnnzoo.errors import ConfigError
from gnnzoo.tasks.base import Batch, Stage, Task, forward, outputs
from gnnzoo.tasks.graph import GraphTask
from gnnzoo.tasks.incidence import EdgeDependentNodeTask
from gnnzoo.tasks.metrics import score
from gnnzoo.tasks.node import InductiveNodeTask, NodeTask

__all__ = [
    "TASKS",
    "Batch",
    "EdgeDependentNodeTask",
    "GraphTask",
    "InductiveNodeTask",
    "NodeTask",
    "Stage",
    "Task",
    "create_task",
    "forward",
    "outputs",
    "score",
]

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (NodeTask, InductiveNodeTask, GraphTask, EdgeDependentNodeTask)
}


def create_task(
    name: str, target: str, metric: str, evaluator: str = "", neighbors: int | None = None, hops: int | None = None
) -> Task:
    """Return the task that a dataset's card names; see :class:`~gnnzoo.tasks.base.Task`.

    ``neighbors`` and ``hops`` are for tasks with mini-batches of one graph: see
    :class:`~gnnzoo.tasks.incidence.EdgeDependentNodeTask`.

    Raises:
        ConfigError: no model is trained on such a task.
    """
    if name not in TASKS:
        raise ConfigError(f"models are not trained on {name} tasks yet, only on {', '.join(TASKS)}")
    if TASKS[name] is EdgeDependentNodeTask:
        return EdgeDependentNodeTask(target, metric, evaluator, neighbors, hops)
    return TASKS[name](target=target, metric=metric, evaluator=evaluator)
