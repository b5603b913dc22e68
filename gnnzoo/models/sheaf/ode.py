"""The continuous models of Neural Sheaf Diffusion: a differential equation in place of layers."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gnnzoo.errors import ConfigError
from gnnzoo.models.sheaf.laplacian import Normalization, Orthogonal, SheafGraph, SheafLaplacian, sheaf_laplacian
from gnnzoo.models.sheaf.model import SheafBlock, SheafNetwork, load_reference_state, reference_arguments
from gnnzoo.types import Dropout, NonNegativeFloat, PositiveFloat, PositiveInt

__all__ = ["ContinuousSheafDiffusion"]

Solver = Literal[
    "dopri5",
    "dopri8",
    "bosh3",
    "fehlberg2",
    "adaptive_heun",
    "euler",
    "midpoint",
    "heun2",
    "heun3",
    "rk4",
    "explicit_adams",
    "implicit_adams",
]
_FIXED_GRID = ("euler", "midpoint", "heun2", "heun3", "rk4", "explicit_adams", "implicit_adams")
_KINDS = {"DiagSheafODE": "diag", "BundleSheafODE": "bundle", "GeneralSheafODE": "general"}
_KINDS |= {"GraphLaplacianDiffusion": "graph"}


class ContinuousSheafDiffusion(SheafNetwork):
    r"""Continuous Neural Sheaf Diffusion (Bodnar et al., 2022): the Diag, O(d) and General models as an ODE.

    .. math::
        X(0) &= \mathrm{ELU}(\hat X W_1^\top + b_1) \text{ as } [n, d', h] \\
        \dot X(t) &= \sigma\left(-\Delta_{F(X(t))} (I_n \otimes A) X(t) B^\top\right), \qquad 0 \le t \le T \\
        \text{logits} &= X(T) W_2^\top + b_2

    One sheaf learner, one A and one B serve all times; there is no residual factor. torchdiffeq solves the equation.
    An adaptive solver (``dopri5``, ``dopri8``, ``bosh3``, ``fehlberg2``, ``adaptive_heun``) chooses its steps by the
    error of all nodes together, so that graphs in a batch change each other within the tolerance; the others take steps
    of ``step_size``, the last one shortened. The graph must be undirected; see :class:`NeuralSheafDiffusion`.

    Args:
        in_channels: Number of input features.
        out_channels: Number of classes.
        hidden_channels: Channels per stalk coordinate, h; a node's state has d' h numbers.
        sheaf: Restriction maps: ``diag`` (diagonal), ``bundle`` (orthogonal), ``general``, or ``graph``: a learned
            weight per edge, the same at both ends (stalks of dimension 1).
        stalk_dim: Learned stalk dimension d; at least 2 for ``bundle`` and ``general``, 1 for ``graph``.
        add_lp: Append a fixed coordinate that carries the signless (low-pass) graph Laplacian.
        add_hp: Append a fixed coordinate that carries the ordinary (high-pass) graph Laplacian.
        normalization: ``sheaf`` by the augmented block diagonal, ``degree`` by node degrees, or ``none``; ``bundle``
            knows only ``sheaf``.
        orthogonal: Parametrisation of orthogonal maps (``bundle``): ``householder``, ``euler`` (d = 2 or 3), ``cayley``
            or ``matrix_exp``.
        edge_weights: Learn a weight per edge as well (``bundle``).
        left_weights: Mix stalk coordinates by A.
        right_weights: Mix channels by B.
        static_sheaf: Learn the sheaf of X(0) and keep it; else that of X(t) is learned at every evaluation.
        second_linear: A second linear layer before diffusion.
        use_act: Apply ELU after the first linear layer and as :math:`\sigma`; else both are the identity.
        sheaf_act: Activation of the learned maps: ``tanh``, ``elu`` or ``id``.
        input_dropout: Dropout of the input features.
        dropout: Dropout of the first state.
        max_time: T; 0 leaves the state as it is.
        solver: A method of torchdiffeq.
        step_size: Step of solvers on a fixed grid.
        tolerance_scale: Multiplies the absolute tolerance 1e-7 and the relative one 1e-9 of adaptive solvers.
        max_evaluations: A solve that evaluates the right-hand side more often is given up, with an error.
        adjoint: In training, solve another ODE for the gradients: memory does not grow with the number of evaluations,
            but gradients are as exact as the two solvers, and slower.
        adjoint_solver: Method of the adjoint ODE.
        adjoint_step_size: Its step, on a fixed grid.
        adjoint_tolerance_scale: Multiplies its tolerances.

    Shapes:
        x ``[num_nodes, in_channels]``, edge_index ``[2, num_edges]`` -> ``[num_nodes, out_channels]``.

    Attributes:
        num_evaluations: How often the last call evaluated the right-hand side (with ``adjoint``, its gradients too).

    Raises:
        ConfigError: If torchdiffeq is not installed, or the hyperparameters do not fit each other; in ``forward``, if
            the solver needs more than ``max_evaluations`` evaluations or finds no step that is small enough.
        DataError: In ``forward``, if an edge has no reverse.

    Source: arXiv 2202.04579, section 5, with the details of the authors' code that the model card lists.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 20,
        sheaf: Literal["diag", "bundle", "general", "graph"] = "bundle",
        stalk_dim: PositiveInt = 2,
        add_lp: bool = False,
        add_hp: bool = False,
        normalization: Normalization = "sheaf",
        orthogonal: Orthogonal = "householder",
        edge_weights: bool = True,
        left_weights: bool = True,
        right_weights: bool = True,
        static_sheaf: bool = False,
        second_linear: bool = False,
        use_act: bool = True,
        sheaf_act: Literal["tanh", "elu", "id"] = "tanh",
        input_dropout: Dropout = 0.0,
        dropout: Dropout = 0.0,
        max_time: NonNegativeFloat = 1.0,
        solver: Solver = "dopri5",
        step_size: PositiveFloat = 1.0,
        tolerance_scale: PositiveFloat = 1.0,
        max_evaluations: PositiveInt = 1000,
        adjoint: bool = False,
        adjoint_solver: Solver = "adaptive_heun",
        adjoint_step_size: PositiveFloat = 1.0,
        adjoint_tolerance_scale: PositiveFloat = 1.0,
    ) -> None:
        _torchdiffeq()
        if sheaf == "graph" and stalk_dim != 1:
            raise ConfigError(f"sheaf=graph needs stalk_dim=1, not {stalk_dim}")
        super().__init__(
            in_channels,
            hidden_channels,
            "diag" if sheaf == "graph" else sheaf,
            stalk_dim,
            add_lp,
            add_hp,
            normalization,
            orthogonal,
            second_linear,
            use_act,
            sheaf_act,
            input_dropout,
            dropout,
        )
        self.maps_are_weights, self.static_sheaf = sheaf == "graph", static_sheaf
        self.max_time, self.max_evaluations, self.num_evaluations = max_time, max_evaluations, 0
        self.solver, self.step_size, self.tolerance_scale = solver, step_size, tolerance_scale
        self.adjoint, self.adjoint_solver = adjoint, adjoint_solver
        self.adjoint_step_size, self.adjoint_tolerance_scale = adjoint_step_size, adjoint_tolerance_scale
        self.flow = SheafBlock(
            self.width,
            hidden_channels,
            self.num_map_parameters,
            sparse_learner=False,
            edge_weights=edge_weights and sheaf == "bundle",
            left_weights=left_weights,
            right_weights=right_weights,
        )
        self.lin_out = nn.Linear(self.width * hidden_channels, out_channels)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self.lin_in.reset_parameters()
        if self.lin_hidden is not None:
            self.lin_hidden.reset_parameters()
        self.flow.reset_parameters()
        self.lin_out.reset_parameters()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``."""
        graph = SheafGraph.of(edge_index, x.size(0))
        x = self.encode(x)
        self.num_evaluations = 0
        if self.max_time > 0 and x.numel() > 0:
            x = self._solve(x, graph)
        return self.lin_out(x.flatten(1))

    def laplacian_of(self, x: Tensor, graph: SheafGraph, noise: Tensor | None = None) -> SheafLaplacian:
        """Return the Laplacian of the sheaf that a state ``[n, width, h]`` induces; ``noise`` as in training."""
        params, edge_weights = self.flow.learn(x, graph)
        if not self.maps_are_weights:
            return self.laplacian(graph, params, edge_weights, noise)
        score = params.sigmoid()
        maps = score * score.roll(graph.lower.numel(), dims=-1)
        return sheaf_laplacian(graph, maps, "diag", self.normalization, fixed=self.fixed)

    def _solve(self, x: Tensor, graph: SheafGraph) -> Tensor:
        # One draw for the whole solve, so that the right-hand side is a function, which error control relies on.
        noise = self.noise(x)
        static = self.laplacian_of(x, graph, noise) if self.static_sheaf else None

        def derivative(_: Tensor, state: Tensor) -> Tensor:
            self.num_evaluations += 1
            if self.num_evaluations > self.max_evaluations:
                raise self._too_hard(f"more than max_evaluations={self.max_evaluations} evaluations")
            laplacian = self.laplacian_of(state, graph, noise) if static is None else static
            change = -(laplacian @ self.flow.mix(state))
            return F.elu(change) if self.use_act else change

        times = torch.tensor([0.0, self.max_time], dtype=x.dtype, device=x.device)
        solve: Callable[..., Tensor] = _torchdiffeq().odeint
        settings = _settings(self.solver, self.step_size, self.tolerance_scale)
        if self.adjoint and self.training:
            solve = _torchdiffeq().odeint_adjoint
            parts = _settings(self.adjoint_solver, self.adjoint_step_size, self.adjoint_tolerance_scale)
            settings |= {f"adjoint_{key}": value for key, value in parts.items()}
            # A static sheaf reaches its learner, and X(0), through the values of its Laplacian.
            learned = [*self.flow.parameters()] if static is None else [static.edge_values, static.node_values]
            if static is not None:
                learned += [part.weight for part in (self.flow.left, self.flow.right) if part is not None]
            settings["adjoint_params"] = tuple(learned)
        try:
            return solve(derivative, x, times, **settings)[-1]
        except AssertionError as error:  # how torchdiffeq says that no step is small enough
            raise self._too_hard(f"too small a step ({error})") from None

    def _too_hard(self, needs: str) -> ConfigError:
        cure = "raise tolerance_scale or take fixed steps, such as solver=rk4 step_size=0.5"
        if self.solver in _FIXED_GRID:
            cure = f"raise step_size={self.step_size:g} or max_evaluations"
        return ConfigError(f"solver={self.solver} needs {needs} to reach max_time={self.max_time:g}: {cure}")

    @classmethod
    def load_reference(cls, config: dict[str, Any], state_dict: dict[str, Tensor]) -> ContinuousSheafDiffusion:
        """Build a model from the authors' flags and parameters (github.com/twitter-research/neural-sheaf-diffusion).

        Args:
            config: The authors' flags; ``model`` is ``diag_ode``, ``bundle_ode``, ``general_ode`` or ``graph_ode`` (or
                ``BundleSheafODE`` etc.).
            state_dict: Parameters under the authors' names; those that their modules register again may be there.
        """
        name = str(config["model"])
        sheaf = _KINDS.get(name, name.removesuffix("_ode"))
        if sheaf == name or sheaf not in _KINDS.values():
            known = ", ".join(f"{kind}_ode" for kind in _KINDS.values())
            raise ConfigError(f"{name} is not among the continuous models: {known}")
        theirs = {
            "max_time": "max_t",
            "step_size": "step_size",
            "tolerance_scale": "tol_scale",
            "adjoint": "adjoint",
            "adjoint_solver": "adjoint_method",
            "adjoint_step_size": "adjoint_step_size",
            "adjoint_tolerance_scale": "tol_scale_adjoint",
        }
        arguments = reference_arguments(config, sheaf)
        arguments |= {own: config[flag] for own, flag in theirs.items() if flag in config}
        for unused in ("num_layers", "sparse_learner"):
            arguments.pop(unused, None)
        arguments["solver"] = config.get("int_method") or "dopri5"
        model = cls(**arguments, max_evaluations=1_000_000)  # the authors' code knows no limit
        again = ("odeblock.", "odefunc.sheaf_learner.", "odefunc.weight_learner.")
        load_reference_state(model, {key: value for key, value in state_dict.items() if not key.startswith(again)})
        return model


def _torchdiffeq() -> ModuleType:
    try:
        # Its solvers' coefficients are tensors made by the import, whatever device or mode that happens in.
        with torch.device("cpu"), torch.inference_mode(False):
            import torchdiffeq
    except ModuleNotFoundError:
        raise ConfigError("continuous sheaf diffusion needs torchdiffeq: pip install gnnzoo[ode]") from None
    return torchdiffeq


def _settings(solver: str, step_size: float, tolerance_scale: float) -> dict[str, Any]:
    """Return how torchdiffeq is called; the tolerances are the authors'."""
    options: dict[str, Any] = {"step_size": step_size} if solver in _FIXED_GRID else {}
    if solver == "implicit_adams":
        options["max_iters"] = 100  # the authors' default
    return {"method": solver, "options": options, "atol": 1e-7 * tolerance_scale, "rtol": 1e-9 * tolerance_scale}
