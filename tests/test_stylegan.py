"""StyleGAN: the formulas of the paper, genforce's files, the shared interface."""

from __future__ import annotations

from pathlib import Path

import foreign
import pytest
import torch

from facenb.generators import pretrained as checkpoints
from facenb.generators.pretrained import WeightsError
from facenb.generators.stylegan import StyleGAN
from facenb.latents import Latents
from facenb.methods.sefa import SeFa


@pytest.fixture(scope="module")
def state() -> foreign.State:
    return foreign.stylegan()


@pytest.fixture(scope="module")
def generator(state: foreign.State, tmp_path_factory: pytest.TempPathFactory) -> StyleGAN:
    path = tmp_path_factory.mktemp("stylegan") / "stylegan_ffhq.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)  # as torch 1.1 wrote it
    return checkpoints.load(path)


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    span = expected.max() - expected.min()
    assert found.shape == expected.shape and span > 0.5
    assert (found - expected).abs().max() < 1e-4 * span


def test_it_shows_what_the_published_network_shows(
    generator: StyleGAN, state: foreign.State
) -> None:
    z = generator.sample(2, seed=3)
    expected = foreign.stylegan_shows(state, z.values).float()
    network = generator.network
    assert expected.shape == (2, 3, 128, 128)
    assert_same(network.synthesize(network.map(z.values)), expected)
    assert_same(generator.synthesize(z), expected.clamp(-1, 1))
    assert torch.equal(generator.synthesize(generator.map(z, "w+")), generator.synthesize(z))


def test_truncation_is_that_of_interfacegan(generator: StyleGAN, state: foreign.State) -> None:
    z = generator.sample(2, seed=3)
    expected = foreign.stylegan_shows(state, z.values, psi=0.7, truncated=8).float()
    codes = generator.truncate(generator.map(z, "w+"), 0.7, (0, 8))
    assert_same(generator.synthesize(codes), expected.clamp(-1, 1))
    whole = foreign.stylegan_shows(state, z.values, psi=0.7, truncated=99).float()
    assert_same(generator.variant(truncation=0.7).synthesize(z), whole.clamp(-1, 1))


def test_noise_is_stored_seeded_or_none(generator: StyleGAN, state: foreign.State) -> None:
    z = generator.sample(1, seed=3)
    expected = foreign.stylegan_shows(state, z.values, noise=False).float()
    assert_same(generator.variant(noise="none").synthesize(z), expected.clamp(-1, 1))
    one, two = generator.variant(noise=1), generator.variant(noise=2)
    assert torch.equal(one.synthesize(z), generator.variant(noise=1).synthesize(z))
    assert not torch.equal(one.synthesize(z), two.synthesize(z))
    assert len({g.fingerprint for g in (one, two, generator)}) == 3


def test_interface(generator: StyleGAN) -> None:
    assert (generator.resolution, generator.latent_dim, generator.dim("w")) == (128, 12, 10)
    assert generator.spaces == ("z", "w", "w+") and generator.w_layers == 12
    assert generator.w_names[:4] == ("const4", "conv4", "up8", "conv8")
    assert list(generator.layers())[:5] == ["map1", "map2", "map3", "const4", "conv4"]
    assert list(generator.layers())[-3:] == ["up128", "conv128", "rgb"]
    assert generator.layer_range(4, 8) == (0, 4)
    w = generator.sample(1, space="w").values.requires_grad_()
    (gradient,) = torch.autograd.grad(generator.synthesize(Latents(w, "w")).sum(), w)
    assert gradient.abs().max() > 0
    with pytest.raises(ValueError, match="expected 12 layers"):
        generator.synthesize(Latents(torch.zeros(1, 9, 10), "w+"))


def test_style_weights_are_the_change_of_a_layers_style(generator: StyleGAN) -> None:
    weights = generator.style_weights((2, 4))
    assert {name: tuple(a.shape) for name, a in weights.items()} == {
        "up8": (12, 10), "conv8": (12, 10),
    }  # fmt: skip
    layer, step = generator.layers()["up8"], torch.randn(1, 10)
    change = layer.style(step) - layer.style(torch.zeros(1, 10))
    assert torch.allclose(change, step @ weights["up8"].T, atol=1e-5)
    given, asked = SeFa(4).fit_weights(generator.style_weights()), SeFa(4).fit(generator)
    assert torch.equal(given.directions_, asked.directions_)
    assert asked.layers_ == generator.w_names and asked.directions_.shape == (4, 10)
    editors = asked.editors()
    assert editors.space == "w"  # not of z, as of a DCGAN's
    edited = editors["SeFa1"].edit(generator.sample(2, space="w"), 2.0)
    assert generator.synthesize(edited).shape == (2, 3, 128, 128)


def test_bfloat16_is_close(generator: StyleGAN) -> None:
    z = generator.sample(2, seed=3)
    exact, found = generator.synthesize(z), generator.variant(precision=torch.bfloat16)
    assert (found.synthesize(z) - exact).square().mean() < 1e-3
    assert torch.equal(generator.synthesize(z), exact)  # the first keeps its own


def test_networks_that_are_still_growing_are_refused(state: foreign.State, tmp_path: Path) -> None:
    torch.save({**state, "synthesis.lod": torch.tensor(1.5)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"synthesis\.lod is \[1\.5\]"):
        checkpoints.load(tmp_path / "a.pth")


def test_a_shape_that_differs_is_named(state: foreign.State, tmp_path: Path) -> None:
    key = "synthesis.layer10.weight"
    torch.save({**state, key: state[key].permute(3, 2, 0, 1)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"layer10\.weight: expected \(3, 3, 4, 4\), given"):
        checkpoints.load(tmp_path / "a.pth")
    no = {k: v for k, v in state.items() if k != "synthesis.layer3.epilogue.bias"}
    torch.save(no, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"layer3\.epilogue\.bias: expected \(6,\), given noth"):
        checkpoints.load(tmp_path / "a.pth")
