"""Every registered dataset under every protocol: counts, splits, labels, identity, health notes, the cache."""

import pytest
import torch

from gnnzoo.datasets import load_dataset
from gnnzoo.datasets.health import agrees, edge_homophily, measure
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.registry import DATASETS

CARDS = [DATASETS.card(name) for name in DATASETS.names()]


def marks(card, protocol):
    """Of a large set, protocols beside the default one are for the slow suite: each parses the files again."""
    counts = card.counts
    large = (card.size or 0) > 20e6 or counts.graphs > 40_000 or counts.nodes * counts.features > 1e8
    slow = [pytest.mark.slow] if large and protocol != card.default_protocol else []
    return [pytest.mark.data(card.name), *slow]


EVERY = [
    pytest.param(card.name, protocol, marks=marks(card, protocol), id=f"{card.name}@{protocol}")
    for card in CARDS
    for protocol in card.protocols
]


@pytest.mark.parametrize(("name", "protocol"), EVERY)
def test_is_what_its_card_says(name, protocol, recwarn):
    """``load_dataset`` compares counts, splits and labels; the card's notes are recomputed here."""
    bundle = load_dataset(name, protocol)
    card = bundle.card
    expected = card.protocols[protocol]
    assert (bundle.digest, bundle.hash) == (expected.digest, expected.hash)
    assert not [w for w in recwarn if "are not those of the card" in str(w.message)]
    bundle.check()
    if expected.shift is not None:
        named = {*expected.shift.shifted, *filter(None, [expected.shift.in_distribution])}
        assert all(named <= {"test", *split.extra} for split in bundle.splits)
    assert len({split.hash for split in bundle.splits}) == len(bundle.splits)
    if card.homophily is not None and protocol == card.default_protocol:
        assert edge_homophily(bundle) == pytest.approx(card.homophily, abs=6e-4)
    for claim in card.health:
        if claim.measure and (
            protocol in claim.protocols or (not claim.protocols and protocol == card.default_protocol)
        ):
            found = measure(claim, bundle, RawFiles(card))
            assert agrees(claim.value, found, claim.tolerance), f"{claim.text}: found {found}"
    for graph in bundle.graphs[:50]:
        for store in graph.stores:
            assert not any(key.endswith("mask") for key in store.keys())  # noqa: SIM118 - PyG's own kind of mapping
            for key, value in store.items():
                if isinstance(value, torch.Tensor):
                    assert value.is_contiguous(), key
                    assert value.dtype in (torch.int64, torch.float32, torch.bool), f"{key} is {value.dtype}"


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_card_is_complete(card):
    assert card.summary
    assert not card.summary.endswith(".")
    assert card.licence
    if card.files:
        assert card.root, "where the raw files are looked for"
        assert card.url, "where a person finds it"
        assert card.source, "where the bytes come from"
    for name, protocol in card.protocols.items():
        assert protocol.source, f"{name}: who says so"
        if card.seen:
            assert len(protocol.digest) == len(protocol.hash) == 16, f"{name}: tools/card_identity.py {card.name}"
