"""The models written the plain way: what the fast ones are measured against.

Edge-wise concatenation, gather and scatter over edges, PyTorch's own autograd. The formulas are the papers'; the
parameters are those of the model that they are made from, so outputs must agree.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from gnnzoo.models.dagnn import DAGNN
from gnnzoo.models.higcn import HiGCN
from gnnzoo.models.sheaf import NeuralSheafDiffusion
from gnnzoo.models.sir_gcn import SIRGCN, SIRConv
from gnnzoo.transforms.petals import flower_petals


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
