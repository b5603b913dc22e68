"""The invariants of sheaf Laplacians and of the network."""

import itertools
import sys

import pytest
import torch
from torch_geometric import EdgeIndex
from torch_geometric.data import Batch, Data

from gnnzoo.errors import ConfigError, DataError
from gnnzoo.models import ContinuousSheafDiffusion, NeuralSheafDiffusion
from gnnzoo.models.build import create_model
from gnnzoo.models.sheaf import SheafGraph, orthogonal_map, sheaf_laplacian
from gnnzoo.models.sheaf.laplacian import num_orthogonal_parameters
from gnnzoo.models.sheaf.model import reference_name
from gnnzoo.registry import MODELS

DOUBLE = torch.double
KINDS = [
    ("diag", "sheaf"),
    ("diag", "degree"),
    ("diag", "none"),
    ("bundle", "sheaf"),
    ("general", "sheaf"),
    ("general", "degree"),
    ("general", "none"),
]
METHODS = [("householder", 2), ("householder", 3), ("householder", 5), ("euler", 2), ("euler", 3)]
METHODS += [("cayley", 2), ("cayley", 4), ("matrix_exp", 2), ("matrix_exp", 4)]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def undirected(pairs):
    edges = torch.as_tensor(pairs).view(-1, 2).t()
    return torch.cat([edges, edges.flip(0)], dim=1)


def random_graph(num_nodes=8, num_edges=12):
    """Return a graph whose last node is isolated."""
    pairs = torch.tensor(list(itertools.combinations(range(num_nodes - 1), 2)))
    return undirected(pairs[torch.randperm(len(pairs))[:num_edges]])


def random_maps(sheaf, d, graph):
    """Return maps at the ends of edges and edge weights."""
    ends = graph.ends.numel()
    if sheaf == "diag":
        return torch.randn(d, ends, dtype=DOUBLE), None
    if sheaf == "general":
        return torch.randn(d, d, ends, dtype=DOUBLE), None
    params = torch.randn(num_orthogonal_parameters(d, "householder"), ends, dtype=DOUBLE)
    return orthogonal_map(params, d), torch.rand(ends // 2, dtype=DOUBLE).repeat(2)


def coboundary(graph, maps, weights=None):
    """Return the matrix whose square is the Laplacian: a block row ``-F_u .. F_v`` per undirected edge."""
    maps = torch.diag_embed(maps.t()) if maps.dim() == 2 else maps.permute(2, 0, 1)
    maps = maps if weights is None else maps * weights.view(-1, 1, 1)
    m, d = graph.lower.numel(), maps.size(1)
    delta = torch.zeros(m, d, graph.num_nodes, d, dtype=DOUBLE)
    delta[torch.arange(m), :, graph.lower] = -maps[:m]
    delta[torch.arange(m), :, graph.upper] = maps[m:]
    return delta.view(m * d, -1)


def adjacency(edge_index, num_nodes):
    a = torch.zeros(num_nodes, num_nodes, dtype=DOUBLE)
    a[edge_index[0], edge_index[1]] = 1
    return a


def inverse_sqrt(matrix):
    """Return the pseudo-inverse square root."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.where(values > 1e-9, values, torch.inf).pow(-0.5).diag() @ vectors.T


def naive_laplacian(graph, edge_index, sheaf, normalization, maps, weights, fixed, augmented=True):
    """Return the Laplacian by its definition: dense, block by block."""
    n, d = graph.num_nodes, maps.size(0)
    delta = coboundary(graph, maps, weights)
    laplacian = delta.T @ delta
    degree = graph.degree.to(DOUBLE)
    scale = torch.zeros(n * d, n * d, dtype=DOUBLE)
    for v in range(n):
        block = slice(v * d, v * d + d)
        if normalization == "sheaf":
            scale[block, block] = inverse_sqrt(laplacian[block, block] + augmented * torch.eye(d))
        elif normalization == "degree":
            factor = d if sheaf == "general" else 1
            scale[block, block] = inverse_sqrt(torch.eye(d, dtype=DOUBLE) * (factor * degree[v] + augmented))
        else:
            scale[block, block] = torch.eye(d, dtype=DOUBLE)
    width = d + len(fixed)
    out = torch.zeros(n, width, n, width, dtype=DOUBLE)
    out[:, :d, :, :d] = (scale @ laplacian @ scale).view(n, d, n, d)
    root = inverse_sqrt((degree + augmented).diag()) if normalization == "sheaf" else torch.eye(n, dtype=DOUBLE)
    for number, sign in enumerate(fixed):
        out[:, d + number, :, d + number] = root @ (degree.diag() + sign * adjacency(edge_index, n)) @ root
    return out.view(n * width, n * width)


# The Laplacian --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("augmented", [True, False])
@pytest.mark.parametrize("fixed", [(), (1,), (-1,), (1, -1)])
@pytest.mark.parametrize(("sheaf", "normalization"), KINDS)
def test_laplacian_is_the_naive_one(sheaf, normalization, fixed, augmented):
    edge_index = random_graph()
    graph = SheafGraph(edge_index, 8)
    maps, weights = random_maps(sheaf, 3, graph)
    laplacian = sheaf_laplacian(graph, maps, sheaf, normalization, weights, fixed, augmented=augmented)
    expected = naive_laplacian(graph, edge_index, sheaf, normalization, maps, weights, fixed, augmented)
    torch.testing.assert_close(laplacian.to_dense(), expected, rtol=0, atol=1e-12)
    x = torch.randn(8, 3 + len(fixed), 4, dtype=DOUBLE)
    torch.testing.assert_close((laplacian @ x).view(-1, 4), expected @ x.view(-1, 4), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("sheaf", "normalization"), KINDS)
def test_spectrum_and_quadratic_form(sheaf, normalization):
    graph = SheafGraph(random_graph(), 8)
    maps, weights = random_maps(sheaf, 3, graph)
    dense = sheaf_laplacian(graph, maps, sheaf, normalization, weights).to_dense()
    torch.testing.assert_close(dense, dense.T)
    values = torch.linalg.eigvalsh(dense)
    assert values[0] > -1e-12
    if normalization == "sheaf":
        assert values[-1] < 2
    if normalization == "none":
        x = torch.randn(24, dtype=DOUBLE)
        assert (x @ dense @ x).item() == pytest.approx(coboundary(graph, maps).mv(x).square().sum().item())


@pytest.mark.parametrize("normalization", ["sheaf", "degree"])
def test_without_augmentation_diagonal_blocks_are_what_normalization_makes_them(normalization):
    graph = SheafGraph(random_graph(), 8)  # node 7 is isolated
    maps, _ = random_maps("general", 2, graph)
    dense = sheaf_laplacian(graph, maps, "general", normalization, augmented=False).to_dense().view(8, 2, 8, 2)
    blocks = dense[torch.arange(8), :, torch.arange(8)]
    assert not blocks[7].any()
    if normalization == "sheaf":
        torch.testing.assert_close(blocks[:7], torch.eye(2, dtype=DOUBLE).expand(7, 2, 2))


@pytest.mark.parametrize(("sheaf", "normalization"), KINDS)
def test_gradients_without_augmentation(sheaf, normalization):
    graph = SheafGraph(random_graph(5, 5), 5)
    maps, weights = random_maps(sheaf, 2, graph)
    leaves = [maps.requires_grad_()] + ([weights.requires_grad_()] if weights is not None else [])

    def dense(maps, weights=None):
        return sheaf_laplacian(graph, maps, sheaf, normalization, weights, (1,), augmented=False).to_dense()

    assert torch.autograd.gradcheck(dense, leaves)


def test_gradients_without_augmentation_of_maps_with_a_common_kernel():
    graph, rows = SheafGraph(random_graph(5, 5), 5), torch.randn(2, dtype=DOUBLE)
    columns = torch.randn(2, 1, graph.ends.numel(), dtype=DOUBLE, requires_grad=True)

    def dense(columns, rows):  # all D have rank one: the pseudo-inverse is smooth along these maps
        return sheaf_laplacian(graph, columns * rows.view(1, 2, 1), "general", augmented=False).to_dense()

    assert torch.autograd.gradcheck(dense, (columns, rows.requires_grad_()))


@pytest.mark.parametrize("sheaf", ["diag", "bundle", "general"])
def test_product_gradients(sheaf):
    graph = SheafGraph(random_graph(5, 5), 5)
    maps, weights = random_maps(sheaf, 2, graph)
    x = torch.randn(5, 3, 2, dtype=DOUBLE, requires_grad=True)
    leaves = [maps.requires_grad_(), x] + ([weights.requires_grad_()] if weights is not None else [])

    def product(maps, x, weights=None):
        return sheaf_laplacian(graph, maps, sheaf, "sheaf", weights, (1,)) @ x

    assert torch.autograd.gradcheck(product, leaves)


def test_two_nodes():
    graph, (a, b) = SheafGraph(undirected([[0, 1]]), 2), (0.7, -1.3)
    dense = sheaf_laplacian(graph, torch.tensor([[a, b]], dtype=DOUBLE), "diag").to_dense()
    off = -a * b / ((a * a + 1) * (b * b + 1)) ** 0.5
    expected = torch.tensor([[a * a / (a * a + 1), off], [off, b * b / (b * b + 1)]], dtype=DOUBLE)
    torch.testing.assert_close(dense, expected)


@pytest.mark.parametrize("method", ["householder", "euler", "cayley", "matrix_exp"])
def test_zero_parameters_give_the_graph_laplacian(method):
    edge_index = random_graph()
    graph, d = SheafGraph(edge_index, 8), 3
    maps = orthogonal_map(
        torch.zeros(num_orthogonal_parameters(d, method), graph.ends.numel(), dtype=DOUBLE), d, method
    )
    sign = -1 if method == "householder" else 1
    torch.testing.assert_close(maps, sign * torch.eye(d, dtype=DOUBLE).unsqueeze(-1).expand_as(maps))
    a, degree = adjacency(edge_index, 8), graph.degree.to(DOUBLE)
    root = ((degree + 1) ** -0.5).diag()
    low, high = root @ (degree.diag() + a) @ root, root @ (degree.diag() - a) @ root
    dense = sheaf_laplacian(graph, maps, "bundle", fixed=(1, -1)).to_dense().view(8, d + 2, 8, d + 2)
    for i, expected in enumerate([high] * d + [low, high]):
        torch.testing.assert_close(dense[:, i, :, i], expected)


@pytest.mark.parametrize(("method", "d"), METHODS)
def test_orthogonal_maps(method, d):
    params = torch.randn(num_orthogonal_parameters(d, method), 6, dtype=DOUBLE)
    q = orthogonal_map(params, d, method).permute(2, 0, 1)
    torch.testing.assert_close(q.mT @ q, torch.eye(d, dtype=DOUBLE).expand(6, d, d))
    sign = (-1.0) ** d if method == "householder" else 1.0
    torch.testing.assert_close(torch.linalg.det(q), torch.full((6,), sign, dtype=DOUBLE))
    torch.testing.assert_close(torch.linalg.det(q[:3].mT @ q[3:]), torch.ones(3, dtype=DOUBLE))
    assert torch.autograd.gradcheck(lambda p: orthogonal_map(p, d, method), (params.requires_grad_(),))


@pytest.mark.parametrize("normalization", ["sheaf", "degree", "none"])
def test_gauge_invariance(normalization):
    graph = SheafGraph(random_graph(), 8)
    maps, _ = random_maps("general", 3, graph)
    turns = orthogonal_map(torch.randn(3, graph.lower.numel(), dtype=DOUBLE), 3).repeat(1, 1, 2)
    turned = torch.einsum("ijm,jkm->ikm", turns, maps)
    one, other = (sheaf_laplacian(graph, m, "general", normalization).to_dense() for m in (maps, turned))
    torch.testing.assert_close(one, other)


def test_general_maps_may_be_a_bundle():
    graph = SheafGraph(random_graph(), 8)
    maps, weights = random_maps("bundle", 3, graph)
    bundle = sheaf_laplacian(graph, maps, "bundle", edge_weights=weights).to_dense()
    torch.testing.assert_close(sheaf_laplacian(graph, maps * weights, "general").to_dense(), bundle)


@pytest.mark.parametrize("case", ["orthogonal", "zero", "repeated"])
def test_general_gradient_is_finite_where_singular_values_repeat(case):
    graph = SheafGraph(undirected([[0, 1], [1, 2], [0, 2]]), 4)  # node 3 is isolated
    d, ends = 3, graph.ends.numel()
    maps = orthogonal_map(torch.randn(3, ends, dtype=DOUBLE), d)
    if case == "zero":
        maps = torch.zeros_like(maps)
    elif case == "repeated":
        maps = maps * torch.tensor([0.7, 0.7, 1.2], dtype=DOUBLE).view(3, 1, 1)
    weight = torch.randn(12, 12, dtype=DOUBLE)

    def loss(maps):
        return (sheaf_laplacian(graph, maps, "general").to_dense() * weight).sum()

    assert torch.autograd.gradcheck(loss, (maps.requires_grad_(),))


@pytest.mark.parametrize("scale", [1e3, 1e5, 1e8])
def test_large_general_maps_without_full_rank_stay_finite(scale):
    graph = SheafGraph(undirected([[0, 1], [1, 2]]), 3)
    ends = graph.ends.numel()  # of rank one: rounding of D hides the I in D + I
    maps = (torch.randn(10, 3, 1, ends) * torch.randn(10, 1, 3, ends) * scale).requires_grad_()
    for one in maps:
        dense = sheaf_laplacian(graph, one, "general").to_dense()
        (grad,) = torch.autograd.grad(dense.square().sum(), maps)
        assert dense.isfinite().all()
        assert grad.isfinite().all()


def kernel_projection(dense, x):
    values, vectors = torch.linalg.eigh(dense)
    kernel = vectors[:, values < 1e-9]
    return kernel @ (kernel.T @ x)


def test_harmonic_states_separate_two_classes():
    """Section 3 of the paper: with transport -1 across classes, harmonic signs are the classes."""
    pairs = [[0, 1], [1, 2], [0, 3], [1, 4], [2, 5], [3, 4], [4, 5]]
    classes = torch.tensor([0, 0, 1, 1, 0, 1])
    graph = SheafGraph(undirected(pairs), 6)
    maps = torch.ones(1, graph.ends.numel(), dtype=DOUBLE)
    m = graph.lower.numel()
    maps[0, m:][classes[graph.lower] != classes[graph.upper]] = -1
    state = kernel_projection(sheaf_laplacian(graph, maps, "diag", "none").to_dense(), torch.randn(6, dtype=DOUBLE))
    torch.testing.assert_close(state.abs(), state[0].abs().expand(6))
    assert torch.equal(state.sign() * state[0].sign() > 0, classes == classes[0])


def test_trivial_sheaf_cannot_separate_a_bipartite_graph():
    graph = SheafGraph(undirected([[i, j] for i in range(3) for j in range(3, 6)]), 6)
    dense = sheaf_laplacian(graph, torch.ones(1, graph.ends.numel(), dtype=DOUBLE), "diag", "none").to_dense()
    state = kernel_projection(dense, torch.randn(6, dtype=DOUBLE))
    torch.testing.assert_close(state, state[:1].expand(6))


def test_rotations_separate_many_classes():
    classes = torch.tensor([0, 1, 2, 1, 0, 2])
    graph = SheafGraph(undirected([[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [0, 3]]), 6)
    maps = orthogonal_map((classes[graph.ends] / 3).to(DOUBLE).unsqueeze(0), 2, "euler")
    dense = sheaf_laplacian(graph, maps, "general", "none").to_dense()
    state = kernel_projection(dense, torch.randn(12, dtype=DOUBLE)).view(6, 2)
    angle = torch.atan2(state[:, 1], state[:, 0]) + 2 * torch.pi * classes / 3
    torch.testing.assert_close(
        torch.stack([angle.cos(), angle.sin()]), torch.stack([angle[0].cos(), angle[0].sin()]).unsqueeze(1).expand(2, 6)
    )


# The network ----------------------------------------------------------------------------------------------------------

VARIANTS = [
    {"sheaf": "diag", "stalk_dim": 1},
    {"sheaf": "diag", "stalk_dim": 2, "add_lp": True, "add_hp": True, "normalization": "degree"},
    {"sheaf": "bundle", "stalk_dim": 3, "sparse_learner": True},
    {"sheaf": "bundle", "stalk_dim": 2, "orthogonal": "cayley", "edge_weights": False, "second_linear": True},
    {"sheaf": "general", "stalk_dim": 2, "add_hp": True},
    {"sheaf": "general", "stalk_dim": 3, "static_sheaf": True, "left_weights": False, "right_weights": False},
]


def network(**kwargs):
    """Return a network with random parameters, in evaluation mode."""
    model = NeuralSheafDiffusion(5, 3, **{"hidden_channels": 4} | kwargs).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


@pytest.mark.parametrize("kwargs", VARIANTS)
def test_numbering_of_nodes_and_edges_does_not_matter(kwargs):
    model, edge_index, x = network(**kwargs), random_graph(), torch.randn(8, 5, dtype=DOUBLE)
    out, order = model(x, edge_index), torch.randperm(8)
    rank = order.argsort()
    torch.testing.assert_close(model(x[order], rank[edge_index]), out[order])
    shuffled = edge_index[:, torch.randperm(edge_index.size(1))]
    torch.testing.assert_close(model(x, shuffled), out)
    wrapped = EdgeIndex(shuffled, sparse_size=(8, 8)).sort_by("row")[0].fill_cache_()
    torch.testing.assert_close(model(x, wrapped), out)


@pytest.mark.parametrize("kwargs", VARIANTS)
def test_gradients_of_the_network(kwargs):
    model, edge_index = network(**kwargs), random_graph(5, 4)
    x = torch.randn(5, 5, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *_: model(x, edge_index), (x, *model.parameters()), fast_mode=True)


@pytest.mark.parametrize("kwargs", VARIANTS)
def test_batches_and_odd_graphs(kwargs):
    model = network(**kwargs)
    empty = torch.empty(2, 0, dtype=torch.long)
    graphs = [
        Data(x=torch.randn(n, 5, dtype=DOUBLE), edge_index=e) for n, e in ((8, random_graph()), (1, empty), (3, empty))
    ]
    batch = Batch.from_data_list(graphs)
    torch.testing.assert_close(model(batch.x, batch.edge_index), torch.cat([model(g.x, g.edge_index) for g in graphs]))
    assert model(torch.empty(0, 5, dtype=DOUBLE), empty).shape == (0, 3)
    model.train()
    model(graphs[1].x, empty).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_isolated_node_sees_only_itself():
    model, edge_index = network(sheaf="bundle", stalk_dim=3, num_layers=2), random_graph()
    x = torch.randn(8, 5, dtype=DOUBLE)
    state = torch.nn.functional.elu(model.lin_in(x[7])).view(3, 4)
    for layer in model.layers:
        state = (1 + layer.epsilon.tanh()) * state
    torch.testing.assert_close(model(x, edge_index)[7], model.lin_out(state.flatten()))


def test_loops_and_duplicates_do_not_count():
    model, edge_index, x = network(sheaf="general"), random_graph(), torch.randn(8, 5, dtype=DOUBLE)
    loops = torch.tensor([[1, 7, 1], [1, 7, 1]])
    messy = torch.cat([edge_index, loops, edge_index[:, :9]], dim=1)
    torch.testing.assert_close(model(x, messy), model(x, edge_index))


def test_a_missing_direction_is_an_error_that_names_the_cure():
    with pytest.raises(DataError, match=r"1 of 23 edges have no reverse: apply .*ToUndirected"):
        network()(torch.randn(8, 5, dtype=DOUBLE), random_graph()[:, 1:])


def test_static_sheaf_with_one_layer_is_the_same():
    state = network(num_layers=1).state_dict()
    one, other = (NeuralSheafDiffusion(5, 3, 4, 1, static_sheaf=static).double() for static in (False, True))
    one.load_state_dict(state)
    other.load_state_dict(state)
    x, edge_index = torch.randn(8, 5, dtype=DOUBLE), random_graph()
    assert torch.equal(one(x, edge_index), other(x, edge_index))


def test_a_fresh_layer_without_activation_subtracts_the_laplacian():
    model = NeuralSheafDiffusion(5, 3, 4, 1, "diag", 2, use_act=False).double()
    torch.nn.init.eye_(model.layers[0].right.weight)
    x, graph = torch.randn(8, 5, dtype=DOUBLE), SheafGraph(random_graph(), 8)
    state = model.lin_in(x).view(8, 2, 4)
    laplacian = model.laplacian(graph, *model.layers[0].learn(state, graph))
    torch.testing.assert_close(model.layers[0](state, state, laplacian), state - laplacian @ state)


@pytest.mark.parametrize("stalk_dim", [2, 3])
def test_sparse_learner_is_symmetric_for_an_even_width(stalk_dim):
    model, graph = network(sheaf="diag", stalk_dim=stalk_dim, sparse_learner=True), SheafGraph(random_graph(), 8)
    x = torch.randn(8, stalk_dim, 4, dtype=DOUBLE)
    params, _ = model.layers[0].learn(x, graph)
    lower, upper = params.chunk(2, dim=1)
    assert torch.allclose(lower, upper) == (stalk_dim % 2 == 0)
    pair = torch.cat([x[graph.ends[0]].flatten(), x[graph.others[0]].flatten()])  # the authors' form, for one edge
    expected = model.layers[0].map_learner(pair.view(stalk_dim, -1).sum(0))
    torch.testing.assert_close(params[:, 0], expected)


def test_initial_parameters():
    model = NeuralSheafDiffusion(5, 3, 4, 2)
    for layer in model.layers:
        assert torch.equal(layer.left.weight, torch.eye(2))
        torch.testing.assert_close(layer.right.weight @ layer.right.weight.T, torch.eye(4))
        assert not layer.epsilon.any()


def test_tagged_parameters_are_the_map_learners_alone():
    model = NeuralSheafDiffusion(5, 3, 4, 2, "bundle", 3)
    assert [p.shape for p in model.parameter_groups()["sheaf_learner"]] == [(3, 24), (3, 24)]
    static = NeuralSheafDiffusion(5, 3, 4, 3, static_sheaf=True)
    assert len(static.parameter_groups()["sheaf_learner"]) == 1
    assert sum("weight_learner" in name for name, _ in static.named_parameters()) == 1


def test_noise_of_general_maps_is_drawn_in_training_only():
    model, x, edge_index = network(sheaf="general"), torch.randn(8, 5, dtype=DOUBLE), random_graph()
    assert torch.equal(model(x, edge_index), model(x, edge_index))
    model.train()
    assert not torch.equal(model(x, edge_index), model(x, edge_index))
    torch.testing.assert_close(model(x, edge_index), model.eval()(x, edge_index), rtol=0.05, atol=0.01)


@pytest.mark.parametrize("kwargs", VARIANTS)
def test_training_after_prediction_in_inference_mode(kwargs):
    model, x, edge_index = network(**kwargs), torch.randn(8, 5, dtype=DOUBLE), random_graph()
    with torch.inference_mode():
        model(x, edge_index)
    model(x, edge_index).sum().backward()
    assert model.lin_in.weight.grad.isfinite().all()


def test_structure_is_built_once_per_graph():
    edge_index = random_graph()
    graph = SheafGraph.of(edge_index, 8)
    assert SheafGraph.of(edge_index, 8) is graph
    assert graph.pattern("diag", 2, (), True, DOUBLE) is graph.pattern("diag", 2, (), True, DOUBLE)
    edge_index[:, :] = edge_index.flip(1)
    assert SheafGraph.of(edge_index, 8) is not graph


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"sheaf": "bundle", "stalk_dim": 1}, "needs stalk_dim >= 2"),
        ({"sheaf": "general", "stalk_dim": 1}, "needs stalk_dim >= 2"),
        ({"normalization": "degree"}, "always normalized"),
        ({"orthogonal": "euler", "stalk_dim": 4}, "stalk_dim 2 or 3"),
        ({"orthogonal": "euler", "stalk_dim": 3, "sheaf_act": "elu"}, "needs sheaf_act=tanh"),
    ],
)
def test_impossible_combinations(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        NeuralSheafDiffusion(5, 3, **kwargs)


FLAGS = {
    "model": "bundle",
    "input_dim": 5,
    "output_dim": 3,
    "hidden_channels": 4,
    "layers": 2,
    "d": 3,
    "orth": "cayley",
}
FLAGS |= {"normalised": True, "deg_normalised": False, "linear": False, "second_linear": True}


def test_load_reference_takes_the_authors_names():
    model = NeuralSheafDiffusion(5, 3, 4, 2, "bundle", 3, orthogonal="cayley", second_linear=True)
    theirs = {reference_name(name): tensor for name, tensor in model.state_dict().items()}
    assert {"lin12.bias", "lin_left_weights.1.weight", "sheaf_learners.0.linear1.weight", "epsilons.1"} <= set(theirs)
    loaded = NeuralSheafDiffusion.load_reference(FLAGS, theirs)
    x, edge_index = torch.randn(8, 5), random_graph()
    assert torch.equal(loaded(x, edge_index), model(x, edge_index))
    del theirs["epsilons.1"]
    with pytest.raises(ConfigError, match=r"do not fit the flags: epsilons\.1"):
        NeuralSheafDiffusion.load_reference(FLAGS, theirs)
    with pytest.raises(ConfigError, match="diag, bundle, general"):
        NeuralSheafDiffusion.load_reference(FLAGS | {"model": "DiagSheafODE"}, theirs)


SIZES = {"texas": (1703, 5), "cornell_legacy": (1703, 5), "wisconsin": (1703, 5), "chameleon": (2325, 5)}
SIZES |= {"squirrel": (2089, 5)}


@pytest.mark.parametrize("benchmark", MODELS.card("sheaf").parameters)
def test_published_parameter_counts(benchmark):
    card, (features, classes) = MODELS.card("sheaf"), SIZES[benchmark.partition("@")[0]]
    model = create_model("sheaf", None, in_channels=features, out_channels=classes, **card.datasets[benchmark].model)
    assert sum(p.numel() for p in model.parameters()) == card.parameters[benchmark]


# The continuous models ------------------------------------------------------------------------------------------------

CONTINUOUS = [
    {"sheaf": "diag", "stalk_dim": 1},
    {"sheaf": "bundle", "stalk_dim": 3, "static_sheaf": True, "solver": "midpoint"},
    {"sheaf": "bundle", "stalk_dim": 2, "orthogonal": "matrix_exp", "edge_weights": False, "second_linear": True},
    {"sheaf": "general", "stalk_dim": 2, "add_hp": True, "left_weights": False, "solver": "euler"},
    {"sheaf": "graph", "stalk_dim": 1, "normalization": "none", "add_lp": True},
]


def flow(**kwargs):
    """Return a continuous model with random parameters, in evaluation mode."""
    defaults = {"hidden_channels": 4, "max_time": 1.3, "solver": "rk4", "step_size": 0.5}
    model = ContinuousSheafDiffusion(5, 3, **defaults | kwargs).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def without_weights(**kwargs):
    """Return a linear continuous model whose first and last layers pass the state on, with 4 channels."""
    model = flow(left_weights=False, right_weights=False, use_act=False, static_sheaf=True, **kwargs)
    node = model.width * 4
    model.lin_in, model.lin_out = torch.nn.Linear(node, node).double(), torch.nn.Linear(node, node).double()
    for layer in (model.lin_in, model.lin_out):
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return model


@pytest.mark.parametrize("kwargs", CONTINUOUS)
def test_numbering_does_not_matter_in_continuous_time(kwargs):
    model, edge_index, x = flow(**kwargs), random_graph(), torch.randn(8, 5, dtype=DOUBLE)
    out, order = model(x, edge_index), torch.randperm(8)
    torch.testing.assert_close(model(x[order], order.argsort()[edge_index]), out[order])
    torch.testing.assert_close(model(x, edge_index[:, torch.randperm(edge_index.size(1))]), out)


@pytest.mark.parametrize("kwargs", CONTINUOUS)
def test_gradients_of_the_continuous_network(kwargs):
    model, edge_index = flow(**kwargs), random_graph(5, 4)
    x = torch.randn(5, 5, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *_: model(x, edge_index), (x, *model.parameters()), fast_mode=True)


@pytest.mark.parametrize("sheaf", ["diag", "bundle", "general"])
def test_linear_flow_is_the_exponential_of_the_laplacian(sheaf):
    model = without_weights(sheaf=sheaf, stalk_dim=2, max_time=1.7, solver="dopri5")
    edge_index, x = random_graph(), torch.randn(8, 8, dtype=DOUBLE)
    dense = model.laplacian_of(x.view(8, 2, 4), SheafGraph.of(edge_index, 8)).to_dense()
    expected = (torch.linalg.matrix_exp(-1.7 * dense) @ x.view(16, 4)).view(8, 8)
    torch.testing.assert_close(model(x, edge_index), expected, rtol=0, atol=1e-6)


def test_linear_flow_ends_in_the_kernel_of_the_laplacian():
    model = without_weights(sheaf="graph", stalk_dim=1, normalization="none", max_time=400.0, solver="dopri5")
    torch.nn.init.zeros_(model.flow.map_learner.weight)  # all weights are 1/4: the harmonic states are constant
    ring, x = undirected([[i, (i + 1) % 6] for i in range(6)]), torch.randn(6, 4, dtype=DOUBLE)
    model.max_evaluations = 100_000
    torch.testing.assert_close(model(x, ring), x.mean(0).expand(6, 4), rtol=0, atol=1e-6)


@pytest.mark.parametrize("sheaf", ["diag", "bundle", "general"])
def test_an_euler_step_of_length_one_is_a_layer(sheaf):
    discrete = NeuralSheafDiffusion(5, 3, 4, 1, sheaf, 2, add_lp=True, use_act=False).double()
    continuous = flow(sheaf=sheaf, stalk_dim=2, add_lp=True, use_act=False, max_time=1.0, solver="euler", step_size=1.0)
    state = {name.replace("layers.0", "flow"): value for name, value in discrete.state_dict().items()}
    del state["flow.epsilon"]
    continuous.load_state_dict(state)
    x, edge_index = torch.randn(8, 5, dtype=DOUBLE), random_graph()
    torch.testing.assert_close(continuous(x, edge_index), discrete.eval()(x, edge_index))
    assert continuous.num_evaluations == 1


def test_the_minus_stands_inside_the_activation():
    model = flow(sheaf="diag", stalk_dim=2, max_time=0.5, solver="euler", step_size=0.5)
    x, graph = torch.randn(8, 5, dtype=DOUBLE), SheafGraph.of(edge_index := random_graph(), 8)
    state = model.encode(x)
    mixed = torch.einsum("ij,njh,kh->nik", model.flow.left.weight, state, model.flow.right.weight)
    change = torch.nn.functional.elu(-(model.laplacian_of(state, graph) @ mixed))
    torch.testing.assert_close(model(x, edge_index), model.lin_out((state + 0.5 * change).flatten(1)))


def test_no_time_means_no_diffusion():
    model, x = flow(max_time=0.0), torch.randn(8, 5, dtype=DOUBLE)
    assert torch.equal(model(x, random_graph()), model.lin_out(torch.nn.functional.elu(model.lin_in(x))))
    assert model.num_evaluations == 0


def test_weights_of_edges_as_maps():
    model, graph = flow(sheaf="graph", stalk_dim=1, normalization="none"), SheafGraph(undirected([[0, 1]]), 2)
    x = torch.randn(2, 1, 4, dtype=DOUBLE)
    weight, (one, other) = model.flow.map_learner.weight[0], x.flatten(1)
    w = (weight @ torch.cat([one, other])).sigmoid() * (weight @ torch.cat([other, one])).sigmoid()
    expected = w.square() * torch.tensor([[1, -1], [-1, 1]], dtype=DOUBLE)
    torch.testing.assert_close(model.laplacian_of(x, graph).to_dense(), expected)
    assert len(model.parameter_groups()["sheaf_learner"]) == 1


@pytest.mark.parametrize("static_sheaf", [False, True])
@pytest.mark.parametrize("sheaf", ["diag", "bundle", "general", "graph"])
def test_adjoint_gradients_are_the_same(sheaf, static_sheaf):
    common = {"sheaf": sheaf, "stalk_dim": 1 + (sheaf != "graph"), "static_sheaf": static_sheaf}
    common |= {"use_act": False}  # ELU's kink leaves a difference that falls slowly with the tolerance
    common |= {"solver": "dopri5", "tolerance_scale": 0.01, "max_evaluations": 10_000}
    x, edge_index, grads = torch.randn(6, 5, dtype=DOUBLE), random_graph(6, 8), []
    direct = flow(**common)
    adjoint = flow(**common, adjoint=True, adjoint_solver="dopri5", adjoint_tolerance_scale=0.01).train()
    adjoint.load_state_dict(direct.state_dict())
    adjoint.noise = lambda x: None  # as in evaluation mode
    for model in (direct, adjoint):
        model(x, edge_index).square().sum().backward()
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert adjoint.num_evaluations > direct.num_evaluations  # also going back
    assert (grads[1] - grads[0]).norm() < 1e-6 * grads[0].norm()


def test_noise_is_drawn_once_per_solve():
    model, x = flow(sheaf="general", solver="dopri5").train(), torch.randn(8, 5, dtype=DOUBLE)
    edge_index = random_graph()
    first, second = model(x, edge_index), model(x, edge_index)  # with noise at each evaluation it would not end
    assert not torch.equal(first, second)
    torch.testing.assert_close(first, second, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("sheaf", ["diag", "bundle", "general"])
def test_adaptive_solver_in_single_precision(sheaf):
    model, x, edge_index = flow(sheaf=sheaf, solver="dopri5"), torch.randn(8, 5), random_graph()
    expected = model(x.double(), edge_index).float()
    torch.testing.assert_close(model.float()(x, edge_index), expected, rtol=1e-4, atol=1e-5)
    assert model.num_evaluations < 200


def test_batches_and_odd_graphs_in_continuous_time():
    model, empty = flow(sheaf="bundle", stalk_dim=3), torch.empty(2, 0, dtype=torch.long)
    graphs = [
        Data(x=torch.randn(n, 5, dtype=DOUBLE), edge_index=e) for n, e in ((8, random_graph()), (1, empty), (3, empty))
    ]
    batch = Batch.from_data_list(graphs)
    torch.testing.assert_close(model(batch.x, batch.edge_index), torch.cat([model(g.x, g.edge_index) for g in graphs]))
    adaptive = flow(solver="dopri5")
    assert adaptive(torch.empty(0, 5, dtype=DOUBLE), empty).shape == (0, 3)
    assert adaptive(graphs[2].x, empty).isfinite().all()


def test_a_solve_without_end_is_given_up():
    model, x, edge_index = flow(solver="dopri5", max_evaluations=10), torch.randn(8, 5, dtype=DOUBLE), random_graph()
    with pytest.raises(ConfigError, match=r"solver=dopri5 needs more than max_evaluations=10 .* raise tolerance_scale"):
        model(x, edge_index)
    with pytest.raises(ConfigError, match=r"max_evaluations=10 .*: raise step_size=0\.1 or max_evaluations"):
        flow(step_size=0.1, max_evaluations=10)(x, edge_index)
    model.max_evaluations = 10_000
    torch.nn.init.constant_(model.flow.right.weight, torch.nan)
    with pytest.raises(ConfigError, match=r"too small a step .*max_time=1\.3: .* fixed steps"):
        model(x, edge_index)


def test_without_torchdiffeq_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    with pytest.raises(ConfigError, match=r"^continuous sheaf diffusion needs torchdiffeq: pip install gnnzoo\[ode\]$"):
        ContinuousSheafDiffusion(5, 3)
    NeuralSheafDiffusion(5, 3)


def test_torchdiffeq_may_be_imported_first_on_another_device(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchdiffeq"]:
        monkeypatch.delitem(sys.modules, name)
    with torch.device("meta"), torch.inference_mode():
        ContinuousSheafDiffusion(5, 3)
    model = flow(solver="dopri5")
    model(torch.randn(8, 5, dtype=DOUBLE), random_graph()).sum().backward()


def test_initial_parameters_of_the_continuous_model():
    model = ContinuousSheafDiffusion(5, 3, 4, stalk_dim=3)
    assert not torch.equal(model.flow.left.weight, torch.eye(3))
    before = [p.clone() for p in model.parameters()]
    model.reset_parameters()
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"sheaf": "graph", "stalk_dim": 2}, "sheaf=graph needs stalk_dim=1, not 2"),
        ({"sheaf": "bundle", "stalk_dim": 1}, "needs stalk_dim >= 2"),
        ({"normalization": "degree"}, "always normalized"),
    ],
)
def test_impossible_combinations_in_continuous_time(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        ContinuousSheafDiffusion(5, 3, **kwargs)


def test_load_reference_of_a_continuous_model():
    model = ContinuousSheafDiffusion(5, 3, 4, stalk_dim=3, orthogonal="cayley", second_linear=True, solver="rk4")
    theirs = {reference_name(name): tensor for name, tensor in model.state_dict().items()}
    assert {"lin12.bias", "odefunc.lin_left_weights.weight", "weight_learner.linear1.weight"} <= set(theirs)
    again = {f"odeblock.odefunc.{name}": theirs[name] for name in ("sheaf_learner.linear1.weight",)}
    flags = FLAGS | {"model": "BundleSheafODE", "max_t": 1.0, "int_method": "rk4", "sparse_learner": True}
    loaded = ContinuousSheafDiffusion.load_reference(flags, theirs | again)
    x, edge_index = torch.randn(8, 5), random_graph()
    assert torch.equal(loaded(x, edge_index), model(x, edge_index))
    assert ContinuousSheafDiffusion.load_reference(flags | {"int_method": None}, theirs).solver == "dopri5"
    with pytest.raises(ConfigError, match="diag_ode, bundle_ode, general_ode, graph_ode"):
        ContinuousSheafDiffusion.load_reference(flags | {"model": "bundle"}, theirs)
    del theirs["lin12.bias"]
    with pytest.raises(ConfigError, match=r"do not fit the flags: lin12\.bias"):
        ContinuousSheafDiffusion.load_reference(flags, theirs)
