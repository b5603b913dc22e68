"""The models written the plain way: what the fast ones are measured against.

Edge-wise concatenation, gather and scatter over edges, PyTorch's own autograd. The formulas are the papers'; the
parameters are those of the model that they are made from, so outputs must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GraphNorm, MessagePassing
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import scatter

from gnnzoo.models.dagnn import DAGNN
from gnnzoo.models.hgnn import HGNN
from gnnzoo.models.higcn import HiGCN
from gnnzoo.models.ppgn_plus import PPGNPlus
from gnnzoo.models.sheaf import NeuralSheafDiffusion
from gnnzoo.models.sir_gcn import SIRGCN, SIRConv
from gnnzoo.models.spen import SPEN, pair_features
from gnnzoo.nn.hypergraph import Incidence
from gnnzoo.transforms.petals import flower_petals
from gnnzoo.transforms.polynomials import CHANNELS, contract


class PlainSheaf(nn.Module):
    """Neural Sheaf Diffusion, normalized, with Householder maps; ``edge_index`` is fixed at construction."""

    def __init__(self, model: NeuralSheafDiffusion, edge_index: Tensor, num_nodes: int) -> None:
        super().__init__()
        self.model, self.n, self.edge_index = model, num_nodes, edge_index
        row, col = edge_index
        upper = torch.nonzero(row < col).flatten()
        key = row * num_nodes + col
        order = key.argsort()
        reverse = order[torch.searchsorted(key[order], col[upper] * num_nodes + row[upper])]
        self.reverse = torch.empty_like(row)
        self.reverse[upper], self.reverse[reverse] = reverse, upper
        self.lo, self.hi, self.up, self.down = row[upper], col[upper], upper, reverse
        self.degree = torch.bincount(row, minlength=num_nodes).float()

    def forward(self, x: Tensor, edge_index: Tensor | None = None) -> Tensor:
        model = self.model
        x = model.lin_in(F.dropout(x, model.input_dropout, self.training))
        x = F.dropout(F.elu(x) if model.use_act else x, model.dropout, self.training)
        x = x if model.lin_hidden is None else model.lin_hidden(x)
        d, h = model.width, model.hidden_channels
        x = x.view(self.n * d, h)
        for number, layer in enumerate(model.layers):
            index, values = self.laplacian(layer, F.dropout(x, model.dropout, self.training and number > 0))
            y = F.dropout(x, model.dropout, self.training)
            y = layer.left(y.t().reshape(-1, d)).reshape(h, -1).t()
            y = layer.right(y)
            y = torch.zeros_like(y).index_add(0, index[0], values.unsqueeze(1) * y[index[1]])
            x = (1 + layer.epsilon.tanh()).repeat(self.n, 1) * x - F.elu(y)
        return model.lin_out(x.view(self.n, -1))

    def pairs(self, x: Tensor) -> Tensor:
        flat = x.reshape(self.n, -1)
        return torch.cat([flat[self.edge_index[0]], flat[self.edge_index[1]]], dim=1)

    def laplacian(self, layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return index and values of the normalized Laplacian, one entry at a time."""
        model, d, row = self.model, self.model.stalk_dim, self.edge_index[0]
        maps = torch.tanh(layer.map_learner(self.pairs(x)))
        zeros = torch.zeros(self.n, d, d)
        if model.sheaf == "diag":
            total = torch.diag_embed(zeros[:, 0].index_add(0, row, maps**2))
            maps = torch.diag_embed(maps)
            scale = torch.diag_embed((total.diagonal(dim1=1, dim2=2) + 1).rsqrt())
        elif model.sheaf == "bundle":
            maps = householder(maps, d)
            score = torch.sigmoid(layer.weight_learner(self.pairs(x)))
            weight = score * score[self.reverse]
            sums = torch.zeros(self.n, 1).index_add(0, row, weight**2)
            maps, total = weight.unsqueeze(2) * maps, torch.diag_embed(sums.expand(-1, d))
            scale = torch.diag_embed((sums + 1).rsqrt().expand(-1, d))
        else:
            total = zeros.index_add(0, row, maps.view(-1, d, d).mT @ maps.view(-1, d, d))
            maps = maps.view(-1, d, d)
            noise = torch.empty(d).uniform_(-0.001, 0.001) if self.training else torch.zeros(d)
            u, s, vh = torch.linalg.svd(total + (1 + noise).diag())
            scale = u @ torch.diag_embed(s.rsqrt()) @ vh
        if model.sheaf == "diag":  # all matrices are diagonal: elementwise, as anybody would
            vectors, s = maps.diagonal(dim1=1, dim2=2), scale.diagonal(dim1=1, dim2=2)
            block = -s[self.lo] * vectors[self.up] * vectors[self.down] * s[self.hi]
            diagonal, i = total.diagonal(dim1=1, dim2=2) * s**2, torch.arange(d)
            entries = [(i, i, block, diagonal)]
        else:
            block = -scale[self.lo] @ maps[self.up].mT @ maps[self.down] @ scale[self.hi]
            diagonal = scale @ total @ scale
            i, j = torch.arange(d).repeat_interleave(d), torch.arange(d).repeat(d)
            entries = [(i, j, block.flatten(1), diagonal.flatten(1))]
        root = (self.degree + 1).rsqrt()
        for number, sign in enumerate(model.fixed):
            i = torch.tensor([d + number])
            edges = sign * (root[self.lo] * root[self.hi]).unsqueeze(1)
            entries.append((i, i, edges, (self.degree * root**2).unsqueeze(1)))
        rows, cols, values = [], [], []
        nodes, width = torch.arange(self.n), model.width
        for i, j, block, diagonal in entries:
            for a, b, p, q, value in (
                (self.lo, self.hi, i, j, block),
                (self.hi, self.lo, j, i, block),
                (nodes, nodes, i, j, diagonal),
            ):
                rows.append((a.unsqueeze(1) * width + p).flatten())
                cols.append((b.unsqueeze(1) * width + q).flatten())
                values.append(value.flatten())
        return torch.stack([torch.cat(rows), torch.cat(cols)]), torch.cat(values)


def householder(params: Tensor, d: int) -> Tensor:
    """Return the product of Householder reflections whose vectors are the columns of I + lower(params)."""
    lower = torch.eye(d).repeat(params.size(0), 1, 1)
    i, j = torch.tril_indices(d, d, -1)
    lower[:, i, j] = params
    return torch.linalg.householder_product(lower, 2 / lower.square().sum(1))


class PlainDAGNN(nn.Module):
    """DAGNN with PyG's ``MessagePassing`` and dense features, normalized once (the authors' code does it each time)."""

    class Propagate(MessagePassing):
        def forward(self, x: Tensor, edge_index: Tensor, weight: Tensor) -> Tensor:
            return self.propagate(edge_index, x=x, weight=weight)

        def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
            return weight.view(-1, 1) * x_j

    def __init__(self, model: DAGNN, edge_index: Tensor, num_nodes: int) -> None:
        super().__init__()
        self.model, self.propagate = model, self.Propagate(aggr="add")
        self.edge_index, self.weight = gcn_norm(edge_index, None, num_nodes)

    def forward(self, x: Tensor, edge_index: Tensor | None = None) -> Tensor:
        model = self.model
        h = F.relu(model.lin1(F.dropout(x, model.dropout, self.training)))
        z = model.lin2(F.dropout(h, model.dropout, self.training))
        hops = [z]
        for _ in range(model.K):
            hops.append(self.propagate(hops[-1], self.edge_index, self.weight))
        stacked = torch.stack(hops, dim=1)
        return (torch.sigmoid(model.gate(stacked)) * stacked).sum(1)


class PlainHiGCN(nn.Module):
    """HiGCN for nodes, order by order and power by power, with PyG's ``MessagePassing`` and dense features."""

    def __init__(self, model: HiGCN, edge_index: Tensor, num_nodes: int) -> None:
        super().__init__()
        self.model, self.propagate = model, PlainDAGNN.Propagate(aggr="add")
        index, order, weight = flower_petals(edge_index, num_nodes, model.order)
        self.operators = [(index[:, order == p], weight[order == p]) for p in range(1, model.order + 1)]

    def forward(self, x: Tensor, edge_index: Tensor | None = None) -> Tensor:
        model, (conv,), out = self.model, self.model.convs, []
        maps = zip(*(part.chunk(model.order) for part in (conv.lin.weight, conv.lin.bias)), strict=True)
        for (weight, bias), gamma, operator in zip(maps, conv.gamma, self.operators, strict=True):
            z = F.linear(F.dropout(x, model.dropout, self.training), weight, bias)
            z = F.dropout(z, conv.petal_dropout, self.training)
            y = gamma[0] * z
            for scale in gamma[1:]:
                z = self.propagate(z, *operator)
                y = y + scale * z
            out.append(y)
        return model.lins[0](F.dropout(torch.cat(out, dim=1), model.dropout, self.training))


class PlainSIRGCN(nn.Module):
    """SIR-GCN for heterophilous graphs (``block=pre``, ``aggr=sym``) with PyG's ``MessagePassing``, normalized once."""

    class Convolution(MessagePassing):
        def forward(self, conv: SIRConv, x: Tensor, edge_index: Tensor, weight: Tensor) -> Tensor:
            query = F.dropout(conv.lin_query(x), conv.dropout, conv.training)
            key = F.dropout(conv.lin_key(x), conv.dropout, conv.training)
            return conv.lin_relation(self.propagate(edge_index, query=query, key=key, weight=weight, act=conv.act))

        def message(self, query_i: Tensor, key_j: Tensor, weight: Tensor, act: nn.Module) -> Tensor:
            return weight.view(-1, 1) * act(query_i + key_j)

    def __init__(self, model: SIRGCN, edge_index: Tensor, num_nodes: int) -> None:
        super().__init__()
        self.model, self.convolution, self.edge_index = model, self.Convolution(aggr="add"), edge_index
        out_degree, in_degree = (torch.bincount(row, minlength=num_nodes).clamp(min=1).float() for row in edge_index)
        self.weight = out_degree.rsqrt()[edge_index[0]] * in_degree.rsqrt()[edge_index[1]]

    def forward(self, x: Tensor, edge_index: Tensor | None = None) -> Tensor:
        model = self.model
        x = model.act(F.dropout(model.encoder(x), model.input_dropout, self.training))
        for norm, conv, lin in zip(model.norms, model.convs, model.lins, strict=True):
            h = self.convolution(conv, norm(x), self.edge_index, self.weight)
            h = lin(model.act(F.dropout(h, model.dropout, self.training)))
            x = x + F.dropout(h, model.dropout, self.training)
        return model.readouts[0](model.out_norm(x))


def plain_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Selective scan as mamba_ssm's reference does it: decays and inputs of all times first, then step by step."""
    decay = torch.exp(torch.einsum("bdl,dn->bdln", delta, A))
    inputs = torch.einsum("bdl,bnl,bdl->bdln", delta, B, u)
    h, out = torch.zeros_like(decay[:, :, 0]), []
    for t in range(u.size(2)):
        h = decay[:, :, t] * h + inputs[:, :, t]
        out.append(torch.einsum("bdn,bn->bd", h, C[:, :, t]))
    return torch.stack(out, dim=2)


def lean_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Selective scan step by step, with the decay and the input of one step at a time."""
    h, out = u.new_zeros(u.size(0), *A.shape), []
    for t in range(u.size(2)):
        step = delta[:, :, t, None]
        h = torch.exp(step * A) * h + (step * u[:, :, t, None]) * B[:, None, :, t]
        out.append((h @ C[:, :, t, None]).squeeze(2))
    return torch.stack(out, dim=2)


class PlainSPEN(nn.Module):
    """SPEN with every basis operation of every ball as a tensor, then one contraction with the coefficients."""

    def __init__(self, model: SPEN) -> None:
        super().__init__()
        self.model, self.coefficients = model, nn.ParameterDict()
        for number, layer in enumerate([*model.convs, model.readout]):
            for weights in (w for w in (layer.from_pairs, layer.from_nodes) if w is not None):
                for order in weights.out_orders:
                    values = weights.elements(order).detach().unbind()
                    for size, value in zip(model.weight_sizes, values, strict=True):
                        name = f"{number} {weights.in_order} {order} {size}"
                        self.coefficients[name] = nn.Parameter(value.contiguous())
                        for at, part in weights.biases:
                            if at == order:
                                row = model.weight_sizes.index(size)
                                bias = weights.bias_view(order, part)[row]
                                self.coefficients[f"{name} {part}"] = nn.Parameter(bias.detach().clone())
        self.norms = nn.ModuleDict()
        for number, norm in enumerate(model.norms):
            for row, order in enumerate((2, 1)):
                layer = self.norms[f"{number} {order}"] = GraphNorm(norm.channels)
                for name, value in layer.named_parameters():
                    value.data = getattr(norm, name)[row].detach().clone()

    def forward(self, data: Data) -> Tensor:
        model, batch, first = self.model, data.batch, data.pair_index[0]
        sizes = self.plan(data)
        t2, t1 = pair_features(data.x, data.pair_index, data.pair_weight), None
        for number in range(len(model.convs)):
            z2, z1 = [], []
            for size, (nodes, pairs) in sizes.items():
                x2 = t2[pairs].permute(0, 3, 1, 2)
                out2, out1 = self.map(number, 2, 2, size, x2), self.map(number, 2, 1, size, x2)
                if t1 is not None:
                    x1 = t1[nodes].transpose(1, 2)
                    out2 = torch.cat([out2, self.map(number, 1, 2, size, x1)], dim=1)
                    out1 = torch.cat([out1, self.map(number, 1, 1, size, x1)], dim=1)
                z2.append(out2.permute(0, 2, 3, 1).flatten(0, 2))
                z1.append(out1.transpose(1, 2).flatten(0, 1))
            all_pairs = torch.cat([pairs.flatten() for _, pairs in sizes.values()])
            all_nodes = torch.cat([nodes.flatten() for nodes, _ in sizes.values()])
            t2 = F.elu(scatter(torch.cat(z2), all_pairs, dim_size=first.numel(), reduce="mean"))
            t1 = F.elu(scatter(torch.cat(z1), all_nodes, dim_size=batch.numel(), reduce="mean"))
            t2, t1 = self.norms[f"{number} 2"](t2, batch[first]), self.norms[f"{number} 1"](t1, batch)
        z0, graph = [], []
        for size, (nodes, pairs) in sizes.items():
            x2, x1 = t2[pairs].permute(0, 3, 1, 2), t1[nodes].transpose(1, 2)
            z0.append(torch.cat([self.map(number + 1, 2, 0, size, x2), self.map(number + 1, 1, 0, size, x1)], dim=1))
            graph.append(batch[nodes[:, 0]])
        x = scatter(F.elu(torch.cat(z0)), torch.cat(graph), dim_size=data.num_graphs, reduce="mean")
        for lin in model.lins[:-1]:
            x = F.dropout(lin(x).relu(), model.dropout, self.training)
        return model.lins[-1](x)

    def plan(self, data: Data) -> dict[int, tuple[Tensor, Tensor]]:
        """Return nodes ``[N, m]`` and pairs ``[N, m, m]`` of the balls of each size, once for all layers."""
        (member, center), (first, _) = data.ball_index, data.pair_index
        size = torch.bincount(center, minlength=data.num_nodes)
        num_pairs = torch.bincount(data.batch[first])
        offset = (num_pairs.cumsum(0) - num_pairs)[data.batch]
        ball = center.repeat_interleave(size[center])
        pair, sizes = data.ball_pair + offset[ball], {}
        for m in size.unique().tolist():
            sizes[m] = member[size[center] == m].view(-1, m), pair[size[ball] == m].view(-1, m, m)
        return sizes

    def map(self, layer: int, in_order: int, out_order: int, size: int, x: Tensor) -> Tensor:
        name = f"{layer} {in_order} {out_order} {size}"
        operations = torch.stack(getattr(self, f"operations_{in_order}{out_order}")(x), dim=2)
        out = torch.einsum("ndb...,dsb->ns...", operations, self.coefficients[name])
        for part in ("i|j", "i", ""):
            if f"{name} {part}" in self.coefficients:
                bias = self.coefficients[f"{name} {part}"]
                out = out + bias.view(1, -1, *[1] * out_order)
        if f"{name} ij" in self.coefficients:
            out = out + torch.eye(size) * self.coefficients[f"{name} ij"].view(1, -1, 1, 1)
        return out

    @staticmethod
    def operations_22(x: Tensor) -> list[Tensor]:
        g, r, c = x.diagonal(dim1=2, dim2=3), x.mean(3), x.mean(2)
        t, total = g.mean(2, keepdim=True).expand_as(g), r.mean(2, keepdim=True).expand_as(r)
        along_rows, along_columns = (partial(lambda v, dim: v.unsqueeze(dim).expand_as(x), dim=d) for d in (3, 2))
        operations = [torch.diag_embed(v) for v in (g, t, r, c, total)]
        operations += [along_rows(c), along_rows(r), along_columns(c), along_columns(r), x, x.mT]
        return [*operations, along_rows(g), along_columns(g), along_rows(t), along_rows(total)]

    @staticmethod
    def operations_21(x: Tensor) -> list[Tensor]:
        g, r, c = x.diagonal(dim1=2, dim2=3), x.mean(3), x.mean(2)
        return [g, g.mean(2, keepdim=True).expand_as(g), r, c, r.mean(2, keepdim=True).expand_as(r)]

    @staticmethod
    def operations_12(x: Tensor) -> list[Tensor]:
        m, total = x.size(2), x.mean(2, keepdim=True).expand_as(x)
        columns, rows, everywhere = (v.expand(-1, -1, m, m) for v in (x.unsqueeze(2), x.unsqueeze(3), total[..., None]))
        return [torch.diag_embed(x), torch.diag_embed(total), columns, rows, everywhere]

    @staticmethod
    def operations_11(x: Tensor) -> list[Tensor]:
        return [x, x.mean(2, keepdim=True).expand_as(x)]

    @staticmethod
    def operations_20(x: Tensor) -> list[Tensor]:
        return [x.diagonal(dim1=2, dim2=3).mean(2), x.mean((2, 3))]

    @staticmethod
    def operations_10(x: Tensor) -> list[Tensor]:
        return [x.mean(2)]


def planned_polynomials(adjacency: Tensor) -> Tensor:
    """Evaluate the 12 polynomials by einsum, each in the order of factors that NumPy has planned (once)."""
    parts = [contract(adjacency, channel) for channel in CHANNELS]
    parts = [torch.diag_embed(v) if v.dim() == 1 else v.expand_as(adjacency) for v in parts]
    return torch.stack(parts)


class PlainPPGNPlus(nn.Module):
    """PPGN++ on a padded batch ``[num_graphs, channels, n, n]`` with masks and 1x1 convolutions, as it is written."""

    def __init__(self, model: PPGNPlus, mask: Tensor) -> None:
        super().__init__()
        self.model, self.mask = model, mask

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        n = x.size(-1)
        eye = torch.eye(n).expand(len(x), 1, n, n)
        for block in self.model.blocks:
            x = torch.cat([x, eye], dim=1)
            m1 = self.perceptron(block.mlp1, torch.cat([x, x.mT], dim=1)) * mask
            m2 = self.perceptron(block.mlp2, x) * mask
            x = self.convolution(block.skip, torch.cat([x, m1 @ m2], dim=1)) * mask
        nodes = mask[:, 0].diagonal(dim1=1, dim2=2).sum(1, keepdim=True)
        diagonal = x.diagonal(dim1=2, dim2=3).sum(2)
        others = x.sum((2, 3)) - diagonal
        pooled = torch.cat([diagonal / nodes, others / (nodes * (nodes - 1))], dim=1)
        return self.model.lins[1](self.model.lins[0](pooled).relu())

    def perceptron(self, layers: nn.ModuleList, x: Tensor) -> Tensor:
        for layer in layers:
            x = self.convolution(layer, x).relu()
        return x

    @staticmethod
    def convolution(layer: nn.Linear, x: Tensor) -> Tensor:
        return F.conv2d(x, layer.weight[:, :, None, None], layer.bias)


class LocalHGNN(nn.Module):
    """HGNN for a few nodes, from what lies within its layers' reach of them; degrees are those of the whole.

    Args:
        model: an HGNN in evaluation mode, ``norm="symmetric"``.
        members: the whole hypergraph.
    """

    def __init__(self, model: HGNN, members: Incidence) -> None:
        super().__init__()
        self.model, self.scale, self.size = model, members.degree.clamp(min=1).rsqrt(), members.size
        by_node = members.nodes.argsort(stable=True)
        self.members = _pointer(members.hyperedges, members.num_hyperedges), members.nodes
        self.memberships = _pointer(members.nodes, members.num_nodes), members.hyperedges[by_node]
        self.place = torch.empty(max(members.num_nodes, members.num_hyperedges), dtype=torch.int64)

    def forward(self, x: Tensor, nodes: Tensor) -> Tensor:
        """Return logits ``[num_asked, out_channels]`` for different ``nodes``."""
        steps = []  # from the nodes that are asked about outwards
        for _ in self.model.lins:
            row, hyperedges = _listed(*self.memberships, nodes)
            asked = hyperedges.unique()
            inner, around = _listed(*self.members, asked)
            steps.append((nodes, row, hyperedges, asked, inner, around))
            nodes = around.unique()
        h = x[nodes]
        for lin, (targets, row, hyperedges, asked, inner, around) in zip(self.model.lins, reversed(steps), strict=True):
            h = (lin(h.relu() if lin is not self.model.lins[0] else h)) * self.scale[nodes]
            self.place[nodes] = torch.arange(len(nodes))
            mean = h.new_zeros(len(asked), h.size(1)).index_add_(0, inner, h[self.place[around]]) / self.size[asked]
            self.place[asked] = torch.arange(len(asked))
            h = h.new_zeros(len(targets), h.size(1)).index_add_(0, row, mean[self.place[hyperedges]])
            h, nodes = h * self.scale[targets], targets
        return h


def _pointer(sorted_or_not: Tensor, count: int) -> Tensor:
    return F.pad(torch.bincount(sorted_or_not, minlength=count).cumsum(0), (1, 0))


def _listed(pointer: Tensor, entries: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the entries of some rows of a CSR structure, and to which of these rows each belongs."""
    start, counts = pointer[rows], pointer[rows + 1] - pointer[rows]
    row = torch.repeat_interleave(torch.arange(len(rows)), counts)
    within = torch.arange(len(row)) - (counts.cumsum(0) - counts)[row]
    return row, entries[start[row] + within]


def plain_weights(
    x: Tensor, features: Tensor, queued: Tensor, noise: tuple[Tensor, Tensor], lr: float, factor: float
) -> Tensor:
    """L2R's weights of a batch (raw, ``[num_graphs]``), by autograd, feature by feature and step by step.

    Args:
        x: representation of the batch.
        features: of the queue.
        queued: its raw weights.
        noise: ``(w, b)`` of all steps.
        lr: of the first half of the steps.
        factor: lambda.
    """
    raw = nn.Parameter(x.new_ones(len(x)))
    optimizer = torch.optim.SGD([raw], lr=lr, momentum=0.9)
    samples, steps = torch.cat([x, features]), len(noise[0])
    for step, (w, b) in enumerate(zip(*noise, strict=True)):
        optimizer.param_groups[0]["lr"] = lr * 0.1 ** (step // (steps / 2))
        m = samples.unsqueeze(2) * w + b
        m = m - m.min(dim=1, keepdim=True).values
        m = m / m.max(dim=1, keepdim=True).values * (torch.pi / 2)
        u = (2 / len(w)) ** 0.5 * (m.cos() + m.sin())
        p = torch.cat([raw, queued]).softmax(dim=0).unsqueeze(1)
        loss = x.new_zeros(())
        for q in range(len(w)):
            mean = (p * u[..., q]).sum(dim=0)
            covariance = (p * u[..., q]).T @ u[..., q] - torch.outer(mean, mean)
            loss = loss + covariance.square().sum() - covariance.diagonal().square().sum()
        optimizer.zero_grad()
        (loss / factor + raw.softmax(dim=0).square().sum()).backward()
        optimizer.step()
    return raw.detach()


def plain_propagation(
    x: Mapping[str, Tensor],
    edges: Mapping[tuple[str, str, str], Tensor],
    target: str,
    kernel: Callable[[str, tuple[int, int]], Tensor],
    num_iterations: int,
) -> list[Tensor]:
    """RpHGNN's groups, ``[num_targets, slots, width]``: means over edges, all types squashed in every iteration.

    Edge types are between two types, and each is there once.
    """
    there = {f"{s}/{e}/{t}": (s, t, index) for (s, e, t), index in edges.items()}
    back = {f"{t}/r.{e}/{s}": (t, s, index.flip(0)) for (s, e, t), index in edges.items()}
    reverse = dict(zip(there, back, strict=True)) | dict(zip(back, there, strict=True))
    both = there | back

    def mean(name: str, h: Tensor) -> Tensor:
        _, to, (row, column) = both[name]
        return scatter(h[row], column, dim=0, dim_size=x[to].size(0), reduce="mean")

    raw = {**{name: name for name in there}, **{b: a for a, b in zip(there, back, strict=True)}}
    first, slots = x[target], []
    for k in range(num_iterations):
        found: dict[str, dict[str, Tensor]] = {kind: {} for kind in x}
        for name, (s, t, _) in both.items():
            odd = mean(name, x[s])
            found[t][f"odd|{name}"] = odd
            found[s][f"even|{name}"] = mean(reverse[name], odd)
        order = sorted(found[target], key=lambda name: (raw[name.partition("|")[2]], name.startswith("even")))
        slots.append([found[target][name] for name in order])
        x = {
            kind: sum(
                F.normalize(h @ kernel(f"{k}|{kind}|{name}", (h.size(1), x[kind].size(1))))
                for name, h in found[kind].items()
            )
            for kind in x
        }
    groups = zip(*slots, strict=True)
    inputs = [[first] if name.startswith("even") else [] for name in order]
    return [torch.stack(given + list(group), dim=1) for given, group in zip(inputs, groups, strict=True)]
