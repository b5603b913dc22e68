"""The layers and the network of Neural Sheaf Diffusion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gnnzoo.errors import ConfigError
from gnnzoo.models.sheaf.laplacian import (
    Normalization,
    Orthogonal,
    Sheaf,
    SheafGraph,
    SheafLaplacian,
    num_orthogonal_parameters,
    orthogonal_map,
    sheaf_laplacian,
)
from gnnzoo.ops import dropout, sparse_linear
from gnnzoo.types import Dropout, PositiveInt

__all__ = [
    "NeuralSheafDiffusion",
    "SheafBlock",
    "SheafDiffusionLayer",
    "SheafNetwork",
    "load_reference_state",
    "reference_arguments",
    "reference_name",
]

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "elu": F.elu, "id": lambda x: x}


class SheafBlock(nn.Module):
    r"""What diffusion along a learned sheaf learns: the maps, the weights of edges, and A and B that mix the state.

    Args:
        width: Stalk dimension with fixed coordinates.
        hidden_channels: Channels per stalk coordinate.
        num_map_parameters: Numbers per restriction map (:math:`W` has that many rows); 0 for a layer without a learner.
        sparse_learner: Whether the map learner sees pooled features (``[.., 2 h]``) instead of whole nodes.
        edge_weights: Whether a learner of edge weights is there.
        left_weights: Whether stalk coordinates are mixed by A, ``[width, width]``.
        right_weights: Whether channels are mixed by B, ``[h, h]``.
    """

    def __init__(
        self,
        width: int,
        hidden_channels: int,
        num_map_parameters: int,
        sparse_learner: bool,
        edge_weights: bool,
        left_weights: bool,
        right_weights: bool,
    ) -> None:
        super().__init__()
        h, node = hidden_channels, width * hidden_channels
        self.width, self.sparse_learner = width, sparse_learner
        learner_in = 2 * h if sparse_learner else 2 * node
        self.map_learner = nn.Linear(learner_in, num_map_parameters, bias=False) if num_map_parameters else None
        self.weight_learner = nn.Linear(2 * node, 1, bias=False) if edge_weights and num_map_parameters else None
        self.left = nn.Linear(width, width, bias=False) if left_weights else None
        self.right = nn.Linear(h, h, bias=False) if right_weights else None

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        for part in (self.map_learner, self.weight_learner, self.left, self.right):
            if part is not None:
                part.reset_parameters()

    def learn(self, x: Tensor, graph: SheafGraph) -> tuple[Tensor, Tensor | None]:
        r"""Evaluate :math:`W [x_v \| x_u]` at the ends of edges, through products with nodes.

        Args:
            x: ``[n, width, h]``.
            graph: The graph.

        Returns:
            Parameters of the maps before any activation, ``[k, 2 m]``, and edge weights ``[2 m]`` if they are learned.
        """
        assert self.map_learner is not None
        weight = self.map_learner.weight
        if self.sparse_learner:
            # The authors' reshape sums channels of the even and of the odd rows of [x_v; x_u]: the same as a learner of
            # whole nodes whose weight repeats, with the roles of v and u swapped in every second row.
            weight = weight.repeat(1, self.width)
        if self.weight_learner is not None:
            weight = torch.cat([weight, self.weight_learner.weight])
        own, opposite = weight.chunk(2, dim=1)
        at_own, at_opposite = (torch.cat([own, opposite]) @ x.flatten(1).t()).chunk(2)
        out = graph.at_ends(at_own) + graph.at_others(at_opposite)
        if self.weight_learner is None:
            return out, None
        score = out[-1].sigmoid()
        return out[:-1], score * score.roll(graph.lower.numel())

    def mix(self, x: Tensor) -> Tensor:
        r"""Return :math:`(I \otimes A) X B^\top` of a state ``[n, width, h]``."""
        if self.left is not None:
            x = torch.einsum("ij,njh->nih", self.left.weight, x)
        return x if self.right is None else self.right(x)


class SheafDiffusionLayer(SheafBlock):
    r"""One step :math:`X \leftarrow (1 + \tanh \varepsilon) \odot X - \sigma(\Delta_F (I \otimes A) X B^\top)`.

    Args:
        width, hidden_channels, num_map_parameters, sparse_learner, edge_weights, left_weights, right_weights: See
            :class:`SheafBlock`.
        use_act: Whether :math:`\sigma` is ELU or the identity.
    """

    def __init__(
        self,
        width: int,
        hidden_channels: int,
        num_map_parameters: int,
        sparse_learner: bool,
        edge_weights: bool,
        left_weights: bool,
        right_weights: bool,
        use_act: bool,
    ) -> None:
        super().__init__(
            width, hidden_channels, num_map_parameters, sparse_learner, edge_weights, left_weights, right_weights
        )
        self.use_act = use_act
        self.epsilon = nn.Parameter(torch.empty(width, 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start from A = I, an orthogonal B and epsilon = 0."""
        for learner in (self.map_learner, self.weight_learner):
            if learner is not None:
                learner.reset_parameters()
        if self.left is not None:
            nn.init.eye_(self.left.weight)
        if self.right is not None:
            nn.init.orthogonal_(self.right.weight)
        nn.init.zeros_(self.epsilon)

    def forward(self, x: Tensor, y: Tensor, laplacian: SheafLaplacian) -> Tensor:
        """Diffuse ``y`` (``x`` after dropout) and step from ``x``; all ``[n, width, h]``."""
        y = laplacian @ self.mix(y)
        return (1 + self.epsilon.tanh()) * x - (F.elu(y) if self.use_act else y)


class SheafNetwork(nn.Module):
    """What discrete and continuous sheaf diffusion share: the encoder and the Laplacian of a learned sheaf.

    The arguments are those of :class:`NeuralSheafDiffusion`.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        sheaf: Sheaf,
        stalk_dim: int,
        add_lp: bool,
        add_hp: bool,
        normalization: Normalization,
        orthogonal: Orthogonal,
        second_linear: bool,
        use_act: bool,
        sheaf_act: str,
        input_dropout: float,
        dropout: float,
    ) -> None:
        super().__init__()
        _check(sheaf, stalk_dim, normalization, orthogonal, sheaf_act)
        self.sheaf, self.stalk_dim, self.normalization, self.orthogonal = sheaf, stalk_dim, normalization, orthogonal
        self.fixed = (1,) * add_lp + (-1,) * add_hp
        self.width, self.hidden_channels = stalk_dim + len(self.fixed), hidden_channels
        self.use_act, self.sheaf_act = use_act, sheaf_act
        self.input_dropout, self.dropout = input_dropout, dropout
        self.num_map_parameters = {
            "diag": stalk_dim,
            "bundle": num_orthogonal_parameters(stalk_dim, orthogonal),
            "general": stalk_dim**2,
        }[sheaf]
        node = self.width * hidden_channels
        self.lin_in = nn.Linear(in_channels, node)
        self.lin_hidden = nn.Linear(node, node) if second_linear else None

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the map learners' weights, which the paper decays apart (not those of edge weights)."""
        return {"sheaf_learner": [p for name, p in self.named_parameters() if "map_learner" in name]}

    def encode(self, x: Tensor) -> Tensor:
        """Turn features ``[n, in_channels]`` into the first state, ``[n, width, h]``."""
        x = sparse_linear(x, self.lin_in.weight, self.lin_in.bias, self.input_dropout, self.training)
        x = dropout(F.elu(x) if self.use_act else x, self.dropout, self.training)
        x = x if self.lin_hidden is None else self.lin_hidden(x)
        return x.view(-1, self.width, self.hidden_channels)

    def noise(self, x: Tensor) -> Tensor | None:
        """Draw what general maps are normalized with in training, ``[d]``; None elsewhere.

        The authors keep singular values apart by it; it acts as a mild regularizer here.
        """
        if not self.training or self.sheaf != "general":
            return None
        return torch.empty(self.stalk_dim, dtype=x.dtype, device=x.device).uniform_(-0.001, 0.001)

    def laplacian(
        self, graph: SheafGraph, params: Tensor, edge_weights: Tensor | None = None, noise: Tensor | None = None
    ) -> SheafLaplacian:
        """Return the Laplacian of the sheaf that learned numbers describe.

        Args:
            graph: The graph.
            params: Output of the map learner at the ends of edges, ``[k, 2 m]``.
            edge_weights: ``[2 m]``, the same at both ends.
            noise: See :func:`sheaf_laplacian`.
        """
        d = self.stalk_dim
        maps = _ACTIVATIONS[self.sheaf_act](params)
        if self.sheaf == "bundle":
            maps = orthogonal_map(maps, d, self.orthogonal)
        elif self.sheaf == "general":
            maps = maps.view(d, d, -1)
        return sheaf_laplacian(graph, maps, self.sheaf, self.normalization, edge_weights, self.fixed, noise)


class NeuralSheafDiffusion(SheafNetwork):
    r"""Neural Sheaf Diffusion (Bodnar et al., 2022): Diag-NSD, O(d)-NSD and Gen-NSD.

    .. math::
        X^{(0)} &= \mathrm{ELU}(\hat X W_1^\top + b_1) \text{ as } [n, d', h] \\
        X^{(l+1)} &= (1 + \tanh \varepsilon_l) \odot X^{(l)}
                     - \sigma\left(\Delta_{F(X^{(l)})} (I \otimes A_l) X^{(l)} B_l^\top\right) \\
        \text{logits} &= X^{(L)} W_2^\top + b_2

    The paper's d' is the stalk dimension with the fixed coordinates. The graph must be undirected (both directions of
    each edge); self-loops and duplicate edges are ignored. Several graphs may be batched.

    Args:
        in_channels: Number of input features.
        out_channels: Number of classes.
        hidden_channels: Channels per stalk coordinate, h; a node's state has d' h numbers.
        num_layers: Number of diffusion layers.
        sheaf: Restriction maps: ``diag`` (diagonal), ``bundle`` (orthogonal, O(d)-NSD) or ``general``.
        stalk_dim: Learned stalk dimension d; at least 2 for ``bundle`` and ``general``.
        add_lp: Append a fixed coordinate that carries the signless (low-pass) graph Laplacian.
        add_hp: Append a fixed coordinate that carries the ordinary (high-pass) graph Laplacian.
        normalization: ``sheaf`` by the augmented block diagonal, ``degree`` by node degrees, or ``none``; ``bundle``
            knows only ``sheaf``.
        orthogonal: Parametrisation of orthogonal maps (``bundle``): ``householder``, ``euler`` (d = 2 or 3), ``cayley``
            or ``matrix_exp``.
        edge_weights: Learn a weight per edge as well (``bundle``).
        left_weights: Mix stalk coordinates by A.
        right_weights: Mix channels by B.
        static_sheaf: Learn one sheaf at the first layer and keep it, instead of one per layer.
        second_linear: A second linear layer before diffusion.
        sparse_learner: Learn maps from pooled features; with an even d' both ends of an edge then get the same map.
        use_act: Apply ELU after the first linear layer and in each diffusion layer.
        sheaf_act: Activation of the learned maps: ``tanh``, ``elu`` or ``id``.
        input_dropout: Dropout of the input features.
        dropout: Dropout of the state.

    Shapes:
        x ``[num_nodes, in_channels]``, edge_index ``[2, num_edges]`` -> ``[num_nodes, out_channels]``.

    Raises:
        ConfigError: If the hyperparameters do not fit each other.
        DataError: In ``forward``, if an edge has no reverse.

    Source: arXiv 2202.04579, section 5 (equation 6), with the details of the authors' code that the model card lists.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 20,
        num_layers: PositiveInt = 2,
        sheaf: Sheaf = "bundle",
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
        sparse_learner: bool = False,
        use_act: bool = True,
        sheaf_act: Literal["tanh", "elu", "id"] = "tanh",
        input_dropout: Dropout = 0.0,
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__(
            in_channels,
            hidden_channels,
            sheaf,
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
        self.layers = nn.ModuleList(
            SheafDiffusionLayer(
                self.width,
                hidden_channels,
                0 if static_sheaf and layer else self.num_map_parameters,
                sparse_learner,
                edge_weights and sheaf == "bundle",
                left_weights,
                right_weights,
                use_act,
            )
            for layer in range(num_layers)
        )
        self.lin_out = nn.Linear(self.width * hidden_channels, out_channels)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self.lin_in.reset_parameters()
        if self.lin_hidden is not None:
            self.lin_hidden.reset_parameters()
        for layer in self._diffusion():
            layer.reset_parameters()
        self.lin_out.reset_parameters()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``."""
        graph = SheafGraph.of(edge_index, x.size(0))
        x = self.encode(x)
        for number, layer in enumerate(self._diffusion()):
            if layer.map_learner is not None:
                seen = dropout(x, self.dropout, self.training and number > 0)
                laplacian = self.laplacian(graph, *layer.learn(seen, graph), self.noise(x))
            x = layer(x, dropout(x, self.dropout, self.training), laplacian)
        return self.lin_out(x.flatten(1))

    def _diffusion(self) -> list[SheafDiffusionLayer]:
        return cast("list[SheafDiffusionLayer]", list(self.layers))

    @classmethod
    def load_reference(cls, config: dict[str, Any], state_dict: dict[str, Tensor]) -> NeuralSheafDiffusion:
        """Build a model from the authors' flags and parameters (github.com/twitter-research/neural-sheaf-diffusion).

        Args:
            config: The authors' flags; ``model`` is ``diag``, ``bundle`` or ``general`` (or ``BundleSheaf`` etc.).
            state_dict: Parameters under the authors' names.
        """
        sheaf = str(config["model"]).removesuffix("Sheaf").lower()
        if sheaf not in ("diag", "bundle", "general"):
            raise ConfigError(f"{config['model']} is not among the discrete models: diag, bundle, general")
        model = cls(**reference_arguments(config, sheaf))
        load_reference_state(model, state_dict)
        return model


def load_reference_state(model: nn.Module, state_dict: dict[str, Tensor]) -> None:
    """Give a model the authors' parameters, and their type."""
    names = {name: reference_name(name) for name in model.state_dict()}
    if set(names.values()) != set(state_dict):
        odd = sorted(set(names.values()) ^ set(state_dict))
        raise ConfigError(f"the parameters do not fit the flags: {', '.join(odd)}")
    model.to(state_dict["lin1.weight"].dtype)
    model.load_state_dict({name: state_dict[theirs] for name, theirs in names.items()})


def reference_name(name: str) -> str:
    """Return the authors' name of one of our parameters."""
    head, _, rest = name.partition(".")
    if head == "flow":  # the continuous models have one of each
        return {
            "left.weight": "odefunc.lin_left_weights.weight",
            "right.weight": "odefunc.lin_right_weights.weight",
            "map_learner.weight": "sheaf_learner.linear1.weight",
            "weight_learner.weight": "weight_learner.linear1.weight",
        }[rest]
    if head != "layers":
        theirs = {"lin_in": "lin1", "lin_hidden": "lin12", "lin_out": "lin2"}[head]
        return f"{theirs}.{rest}"
    number, _, part = rest.partition(".")
    return {
        "left.weight": f"lin_left_weights.{number}.weight",
        "right.weight": f"lin_right_weights.{number}.weight",
        "map_learner.weight": f"sheaf_learners.{number}.linear1.weight",
        "weight_learner.weight": f"weight_learners.{number}.linear1.weight",
        "epsilon": f"epsilons.{number}",
    }[part]


def _check(sheaf: str, d: int, normalization: str, orthogonal: str, sheaf_act: str) -> None:
    if sheaf != "diag" and d < 2:
        raise ConfigError(f"sheaf={sheaf} needs stalk_dim >= 2, not {d}; sheaf=diag takes 1")
    if sheaf == "bundle":
        if normalization != "sheaf":
            raise ConfigError(
                f"sheaf=bundle is always normalized by the sheaf: normalization=sheaf, not {normalization}"
            )
        if orthogonal == "euler" and d > 3:
            raise ConfigError(f"orthogonal=euler needs stalk_dim 2 or 3, not {d}; orthogonal=householder takes any")
        if orthogonal == "euler" and d == 3 and sheaf_act != "tanh":
            raise ConfigError(f"orthogonal=euler with stalk_dim 3 needs sheaf_act=tanh, not {sheaf_act}")


def reference_arguments(config: dict[str, Any], sheaf: str) -> dict[str, Any]:
    """Map the authors' flags to constructor arguments."""
    if sheaf == "bundle" or config["normalised"]:
        normalization = "sheaf"
    else:
        normalization = "degree" if config["deg_normalised"] else "none"
    same = ["hidden_channels", "add_lp", "add_hp", "edge_weights", "left_weights", "right_weights", "second_linear"]
    same += ["sparse_learner", "use_act", "sheaf_act", "input_dropout", "dropout"]
    theirs = {
        **{name: name for name in same},
        "in_channels": "input_dim",
        "out_channels": "output_dim",
        "num_layers": "layers",
        "stalk_dim": "d",
        "orthogonal": "orth",
        "static_sheaf": "linear",
    }
    arguments = {own: config[name] for own, name in theirs.items() if name in config}
    return arguments | {"sheaf": sheaf, "normalization": normalization}
