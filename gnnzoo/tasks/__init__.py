"""What a task means: what is iterated over, what the loss is, how predictions are made and scored."""

from gnnzoo.errors import ConfigError
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


def create_task(name: str, target: str, metric: str, evaluator: str = "") -> Task:
    """Return the task that a dataset's card names; see :class:`~gnnzoo.tasks.base.Task`.

    Raises:
        ConfigError: no model is trained on such a task.
    """
    if name not in TASKS:
        raise ConfigError(f"models are not trained on {name} tasks yet, only on {', '.join(TASKS)}")
    return TASKS[name](target=target, metric=metric, evaluator=evaluator)
