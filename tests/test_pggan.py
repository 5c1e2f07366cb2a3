"""PGGAN: the formulas of the paper, genforce's files, the shared interface."""

from __future__ import annotations

from pathlib import Path

import foreign
import pytest
import torch
import torch.nn.functional as F

from facenb.errors import SpaceError
from facenb.generators import pretrained as checkpoints
from facenb.generators.pggan import PGGAN, doubling_kernel
from facenb.generators.pretrained import WeightsError
from facenb.latents import Latents
from facenb.methods.sefa import SeFa


@pytest.fixture(scope="module", params=[False, True], ids=["layout", "first layout"])
def state(request: pytest.FixtureRequest) -> foreign.State:
    return foreign.pggan(early=request.param)


@pytest.fixture(scope="module")
def generator(state: foreign.State, tmp_path_factory: pytest.TempPathFactory) -> PGGAN:
    path = tmp_path_factory.mktemp("pggan") / "pggan_celebahq.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)  # as torch 1.1 wrote it
    return checkpoints.load(path)


def test_it_shows_what_the_published_network_shows(generator: PGGAN, state: foreign.State) -> None:
    z = generator.sample(4, seed=3)
    expected = foreign.pggan_shows(state, z.values).float()
    assert expected.abs().max() > 0.5 and expected.std() > 0.1
    found = generator.synthesize(z)
    assert found.shape == (4, 3, 32, 32)
    assert (found - expected.clamp(-1, 1)).abs().max() < 1e-4


def test_one_kernel_doubles_and_convolves() -> None:
    weight, x = torch.randn(3, 2, 3, 3), torch.randn(1, 2, 5, 4)
    expected = F.conv2d(F.interpolate(x, scale_factor=2), weight, padding=1)
    found = F.conv_transpose2d(x, doubling_kernel(weight), stride=2, padding=1)
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_length_of_z_changes_nothing(generator: PGGAN) -> None:
    z = generator.sample(2)
    longer = generator.synthesize(Latents(3 * z.values, "z"))
    assert torch.allclose(generator.synthesize(z), longer, atol=1e-5)


def test_interface(generator: PGGAN) -> None:
    assert (generator.name, generator.resolution, generator.latent_dim) == (
        "pggan_celebahq", 32, foreign.Z,
    )  # fmt: skip
    assert list(generator.layers()) == [
        "first", "conv4", "up8", "conv8", "up16", "conv16", "up32", "conv32", "rgb",
    ]  # fmt: skip
    assert not any(p.requires_grad for p in generator.parameters())
    with pytest.raises(SpaceError, match="has the spaces 'z'; given 'w'"):
        generator.sample(2, space="w")
    z = generator.sample(2).values.requires_grad_()
    (gradient,) = torch.autograd.grad(generator.synthesize(Latents(z, "z")).sum(), z)
    assert gradient.abs().max() > 0


def test_sefa_factorises_the_first_layer(generator: PGGAN, state: foreign.State) -> None:
    sefa = SeFa(components=3).fit(generator)
    weight = next(
        value for key, value in state.items() if "conv.weight" in key
    ).double()  # (out, z, 4, 4)
    a = weight.permute(0, 2, 3, 1).reshape(-1, foreign.Z) * (2 / (16 * foreign.Z)) ** 0.5
    singular = torch.linalg.svdvals(a)
    assert torch.allclose(sefa.eigenvalues_, singular[:3].square(), rtol=1e-4)


def test_doubling_in_one_convolution(tmp_path: Path) -> None:
    """A network trained with fused scales: what it adds up, it could have learnt plainly."""
    state = foreign.pggan()
    plain = state.pop("layer4.conv.weight")
    state["layer4.weight"] = plain.flip(2, 3).permute(2, 3, 1, 0)  # reversed by its transposition
    torch.save(state, tmp_path / "a.pth")
    z = torch.randn(2, foreign.Z)
    expected = foreign.pggan_shows({**foreign.pggan(), "layer4.conv.weight": plain}, z).float()
    found = checkpoints.load(tmp_path / "a.pth").synthesize(Latents(z, "z"))
    assert (found - expected.clamp(-1, 1)).abs().max() < 1e-4


def test_networks_that_are_still_growing_are_refused(tmp_path: Path) -> None:
    torch.save({**foreign.pggan(), "lod": torch.tensor(2.0)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"its lod is \[2\.0\]"):
        checkpoints.load(tmp_path / "a.pth")


def test_a_shape_that_differs_is_named(tmp_path: Path) -> None:
    wrong = {**foreign.pggan(), "layer3.conv.weight": torch.zeros(8, 8, 5, 5)}
    torch.save(wrong, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"layer3\.conv\.weight: expected \(8, 8, 3, 3\), given"):
        checkpoints.load(tmp_path / "a.pth")


def test_describe(state: foreign.State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "a.pth")
    said = checkpoints.describe(tmp_path / "a.pth")
    assert "PGGAN of genforce" in said and "spaces      z 12\n" in said and "up16" in said
