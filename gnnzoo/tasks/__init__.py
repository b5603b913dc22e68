"""What a task means: what is iterated over, what the loss is, how predictions are made and scored."""

from gnnzoo.tasks.base import Batch, Stage, Task, forward, outputs
from gnnzoo.tasks.graph import GraphTask
from gnnzoo.tasks.metrics import score
from gnnzoo.tasks.node import InductiveNodeTask, NodeTask

__all__ = [
    "TASKS",
    "Batch",
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

TASKS: dict[str, type[Task]] = {task.name: task for task in (NodeTask, InductiveNodeTask, GraphTask)}


def create_task(name: str, target: str, metric: str) -> Task:
    """Return the task that a dataset's card names; see :class:`~gnnzoo.tasks.base.Task`."""
    return TASKS[name](target=target, metric=metric)
