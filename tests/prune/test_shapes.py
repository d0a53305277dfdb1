"""Nonzeros that follow from shapes alone, against Table I of Liu et al., "Sparse systolic tensor array" (2020)."""

import numpy as np
import pytest

from sparseloom.fibertree.pattern import Pattern
from sparseloom.prune.placement import Choice, Placement, plan
from sparseloom.prune.weight import weights_of
from sparseloom.workload import zoo


def placements(name: str, pattern: str, choice: Choice = Choice()) -> tuple[Placement, ...]:  # noqa: B008
    convolutions = [weight for weight in weights_of(zoo.load(name)) if weight.kind == "conv"]
    return plan(convolutions, (Pattern.parse(pattern), None), choice)


def kept(placement: Placement) -> int:
    values = np.random.default_rng(0).normal(size=placement.weight.sizes)
    return int(placement.mask(values).sum())


def test_weights_of_a_network_are_those_of_its_layers() -> None:
    for name in ("resnet50", "alexnet", "mobilenet-v2", "deit-small"):
        network = zoo.load(name)
        assert sum(weight.points for weight in weights_of(network)) == network.weights


def test_resnet50_keeps_8_79_million_of_its_convolutions_but_the_first() -> None:
    found = placements("resnet50-tfslim", "dbb(C: 3/8)")
    assert [p.rule for p in found if p.pattern is None] == ["the first layer"]
    assert sum(kept(p) for p in found if p.pattern is not None) == 8_792_064  # published: 8.79M


def test_mobilenet_keeps_1_6_million_with_its_depthwise_layers_and_the_first_dense() -> None:
    found = placements("mobilenet-v1", "dbb(C: 4/8)")
    dense = [p for p in found if p.pattern is None]
    assert len(dense) == 14
    total = sum(kept(p) for p in found)
    assert total == sum(p.weight.points for p in dense) + sum(p.weight.points for p in found if p.pattern) // 2
    assert total == pytest.approx(1.6e6, rel=0.01)  # 1,615,4xx


def test_the_convnet_has_a_quarter_of_its_107_200_convolution_weights_by_the_papers_count() -> None:
    """26.8K is 2/8 of all; of three channels no 2 of 8 can be kept, so that masks keep more."""
    every = placements("cifar10-convnet", "dbb(C: 2/8)", Choice(first=True))
    points = [p.weight.points for p in every]
    assert sum(points) == 107_200
    assert sum(points) * 2 // 8 == 26_800
    assert [kept(p) for p in every] == [64 * 25 * 2, 64 * 64 * 25 // 4]


def test_vgg16_and_lenet5_have_other_counts_than_the_paper_prints() -> None:
    vgg = placements("vgg16", "dbb(C: 3/8)", Choice(first=True))
    assert sum(p.weight.points for p in vgg) * 3 / 8 == pytest.approx(5.52e6, rel=1e-3)  # published: 5.39M
    lenet = placements("lenet5", "dbb(C: 2/8)", Choice(first=True))
    assert sum(p.weight.points for p in lenet) == 2_550 + 48_000  # C5 is a convolution there; published: 1.05K of 4.2K
