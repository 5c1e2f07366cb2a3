"""Perceptual path length against closed forms, and its paths."""

import math

import pytest
import torch
from tiny import small_stylegan2
from torch import nn

from facenb import load_generator
from facenb.errors import SpaceError
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.metrics.path_length import perceptual_path_lengths, slerp, trimmed_mean


class Linear(Generator):
    """G(w) = the first numbers of w as a picture, w = 3z."""

    name, resolution, latent_dim, spaces, fingerprint = "linear", 2, 12, ("z", "w"), "linear"

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((), 3.0))
        self.freeze()

    def _map(self, latents, space):
        return Latents(latents.values * self.weight, space)

    def _synthesize(self, latents):
        return self.map(latents, "w").values.view(-1, 3, 2, 2)


def flat(images):
    return images.flatten(1)


def test_a_straight_path_of_a_linear_generator_has_the_length_between_its_ends():
    ends = Linear().sample(2 * 20, 4, "w").values.unflatten(0, (20, 2))
    expected = (ends[:, 1] - ends[:, 0]).double().square().sum(dim=1)
    for at_ends in (False, True):
        found = perceptual_path_lengths(Linear(), flat, 20, "w", at_ends, seed=4)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_an_arc_of_a_linear_generator_has_speed_radius_times_angle():
    z = Linear().sample(2 * 20, 5).values.double().unflatten(0, (20, 2))
    lengths = z.norm(dim=2)
    angle = torch.cosine_similarity(z[:, 0], z[:, 1]).acos()
    # at t = 0: along the arc radius·angle, and outwards the difference of the lengths
    speed = (lengths[:, 0] * angle).square() + (lengths[:, 1] - lengths[:, 0]).square()
    found = perceptual_path_lengths(Linear(), flat, 20, "z", ends=True, seed=5)
    torch.testing.assert_close(found, 9 * speed, rtol=1e-4, atol=0)


def test_it_is_the_limit_of_the_published_difference():
    generator = small_stylegan2()
    z = generator.sample(2 * 4, 6).values.unflatten(0, (4, 2))
    t = torch.rand(4, generator=torch.Generator().manual_seed(6))[:, None]

    def looks(t):
        return flat(generator.synthesize(Latents(slerp(*z.unbind(1), t), "z"))).double()

    found = perceptual_path_lengths(generator, flat, 4, "z", seed=6)
    epsilon = 1e-4
    expected = ((looks(t + epsilon / 2) - looks(t - epsilon / 2)) / epsilon).square().sum(dim=1)
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=0)


def test_slerp_keeps_the_length_and_reaches_both_ends():
    start, end = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0)).double()
    end = end * start.norm(dim=1, keepdim=True) / end.norm(dim=1, keepdim=True)
    for t in (0.0, 0.3, 1.0):
        found = slerp(start, end, torch.full((5, 1), t, dtype=torch.float64))
        torch.testing.assert_close(found.norm(dim=1), start.norm(dim=1))
        turned = torch.cosine_similarity(start, found).clamp(-1, 1).acos()
        whole = torch.cosine_similarity(start, end).acos()
        torch.testing.assert_close(turned, t * whole, atol=1e-7, rtol=1e-6)
    torch.testing.assert_close(found, end)


def test_the_mean_leaves_out_both_tails():
    lengths = torch.cat([torch.tensor([1e9, -1e9]), torch.full((98,), 2.0)]).double()
    assert trimmed_mean(lengths).item() == 2.0
    assert math.isclose(trimmed_mean(lengths, 0.0).item(), 1.96)
    with pytest.raises(ValueError, match=r"0 ≤ share < 0\.5, given 0\.5"):
        trimmed_mean(lengths, 0.5)


def test_bad_requests_are_named():
    with pytest.raises(ValueError, match="space 'z' or 'w', given 3 and 'w\\+'"):
        perceptual_path_lengths(Linear(), flat, 3, "w+")
    with pytest.raises(SpaceError, match="digiface-dcgan-64"):
        perceptual_path_lengths(load_generator("digiface-dcgan-64"), flat, 3, "w")
