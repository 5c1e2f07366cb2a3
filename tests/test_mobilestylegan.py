"""MobileStyleGAN: OpenVINO's outputs, its three spaces, sizes, layers, codes of StyleGAN2."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from facenb import Latents, load_generator
from facenb.errors import SpaceError
from facenb.generators.mobilestylegan import MobileStyleGAN, inverse_haar
from facenb.generators.mobilestylegan.heads import heads_file, preview_file
from facenb.storage.files import sha256_file

REFERENCE = Path(__file__).resolve().parents[2] / "shared/fixtures/mobilestylegan_reference.npz"


@pytest.fixture(scope="module")
def generator() -> MobileStyleGAN:
    return load_generator("mobilestylegan-ffhq-1024")


@pytest.fixture(scope="module")
def reference() -> dict[str, torch.Tensor]:
    if not REFERENCE.exists():
        pytest.skip(f"the outputs of OpenVINO are not here: {REFERENCE}")
    with np.load(REFERENCE) as file:
        return {name: torch.from_numpy(file[name]).float() for name in file}


def test_mapping_is_openvinos(generator, reference) -> None:
    w = generator.network.map(reference["z"])
    torch.testing.assert_close(w, reference["w"], atol=5e-5, rtol=0)


@torch.no_grad()
def test_images_are_openvinos_to_a_thousandth_of_the_range(generator, reference) -> None:
    images = generator.network.synthesize(reference["w"])  # not bounded, as the reference
    span = 2e-3  # a thousandth of [−1, 1]; the reference is in half precision
    means = F.avg_pool2d(images, 8)
    torch.testing.assert_close(means, reference["image_mean_8x8"], atol=span, rtol=0)
    crop = images[:, :, 448:576, 448:576]
    torch.testing.assert_close(crop, reference["crop_448_576"], atol=span, rtol=0)


@torch.no_grad()
def test_512_is_1024_averaged(generator) -> None:
    w = generator.network.map(generator.sample(1, seed=3).values)
    full, half = (generator.network.synthesize(w, size=size) for size in (1024, 512))
    torch.testing.assert_close(F.avg_pool2d(full, 2), half, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_three_spaces_give_one_image(generator) -> None:
    z = generator.sample(1, seed=5)
    w, wplus = generator.map(z, "w"), generator.map(z, "w+")
    assert w.values.shape == (1, 512) and wplus.values.shape == (1, 23, 512)
    size = generator.sizes[0]
    images = [generator.synthesize(latents, size) for latents in (z, w, wplus)]
    assert images[0].shape == (1, 3, size, size)
    torch.testing.assert_close(images[0], images[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(images[1], images[2], atol=1e-5, rtol=0)
    assert generator.synthesize(w).shape == (1, 3, 1024, 1024)


def test_layers_and_ranges(generator) -> None:
    names = generator.w_names
    assert len(names) == generator.w_layers == 23
    assert names[:4] == ("conv4", "up8", "conv8_1", "conv8_2") and names[-1] == "rgb1024"
    assert generator.layer_range(4, 8) == (0, 4)
    assert generator.layer_range(512, 1024) == (19, 23)
    modules = generator.layers()
    assert list(modules)[8:] == list(names) and next(iter(modules)) == "map1"
    weights = generator.style_weights((0, 4))
    assert [tuple(w.shape) for w in weights.values()] == [(512, 512)] * 2 + [(128, 512), (512, 512)]


@torch.no_grad()
def test_a_layer_of_w_plus_changes_what_comes_after_it(generator) -> None:
    wplus = generator.map(generator.sample(1, seed=1, space="w"), "w+")
    other = generator.map(generator.sample(1, seed=2, space="w"), "w+")
    first, last = generator.layer_range(128, 1024)
    mixed = wplus.values.clone()
    mixed[:, first:last] = other.values[:, first:last]
    mixed = Latents(mixed, "w+")
    for side, same in ((64, True), (128, False)):
        maps = [generator.features(latents, side) for latents in (wplus, mixed)]
        assert maps[0].shape[2:] == (side, side)
        assert torch.equal(*maps) == same


def test_gradients_reach_the_three_spaces(generator) -> None:
    z = generator.sample(1, seed=4)
    for space in generator.spaces:
        values = generator.map(z, space).values.detach().requires_grad_()
        image = generator.synthesize(Latents(values, space), generator.sizes[0])
        image.square().mean().backward()
        assert torch.isfinite(values.grad).all() and values.grad.abs().max() > 0
        if space == "w+":
            assert (values.grad.abs().amax((0, 2)) > 0).sum() >= 10


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_latents_of_any_precision_are_taken(generator, dtype) -> None:
    z = generator.sample(1, seed=9)
    size = generator.sizes[0]
    expected = generator.synthesize(z, size)
    for space in generator.spaces:
        codes = Latents(generator.map(z, space).values.to(dtype), space)
        found = generator.synthesize(codes, size)
        assert found.dtype == torch.float32
        assert (found - expected).abs().mean() < 0.02


def test_a_gradient_is_the_slope_of_the_image(generator) -> None:
    w = generator.sample(1, seed=6, space="w").values.requires_grad_()
    direction = F.normalize(torch.randn(1, 512, generator=torch.Generator().manual_seed(0)))

    def level(values: torch.Tensor) -> torch.Tensor:
        return generator.network.synthesize(values, size=512).square().mean()

    slope = float((torch.autograd.grad(level(w), w)[0] * direction).sum())
    with torch.no_grad():
        found = float(level(w + 0.05 * direction) - level(w - 0.05 * direction)) / 0.1
    assert found == pytest.approx(slope, rel=0.05)


@torch.no_grad()
def test_truncation_and_noise(generator) -> None:
    z = generator.sample(2, seed=7)
    w = generator.map(z, "w").values
    half = generator.variant(truncation=0.5).map(z, "w").values
    mean = generator.network.w_avg
    torch.testing.assert_close(half - mean, (w - mean) / 2, atol=1e-5, rtol=1e-4)
    assert generator.variant(truncation=0.5).fingerprint != generator.fingerprint
    size = generator.sizes[-2]
    plain = generator.synthesize(z[0], size)
    for noise in ("none", 1):
        other = generator.variant(noise=noise).synthesize(z[0], size)
        assert 1e-3 < (plain - other).abs().mean() < 0.1  # another texture, the same face


@torch.no_grad()
def test_bfloat16_looks_the_same(generator) -> None:
    z = generator.sample(1, seed=8)
    fast = generator.variant(precision=torch.bfloat16)
    for size in (64, 256, 512):
        error = F.mse_loss(fast.synthesize(z, size), generator.synthesize(z, size))
        assert 10 * torch.log10(4 / error) > 35  # dB


def test_codes_of_stylegan2_are_taken_when_asked_for(generator) -> None:
    codes = torch.arange(18.0)[:, None].expand(18, 512)
    taken = generator.from_stylegan2(codes)[:, 0].tolist()
    assert taken == [0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7, 8, 9, 9, 10, 11, 11, 12, 13, 13, 14, 16]
    with pytest.raises(ValueError, match=r"18, 512.*given \(17, 512\)"):
        generator.from_stylegan2(codes[:17])
    eighteen = Latents(torch.zeros(1, 18, 512), "w+")
    with pytest.raises(ValueError, match=r"expected 23 layers.*from_stylegan2"):
        generator.synthesize(eighteen)


def test_bad_sizes_spaces_and_truncation_are_refused(generator) -> None:
    z = generator.sample(1)
    for size in (300, "256", 0):
        with pytest.raises(ValueError, match=r"expected a size among .*512, 1024, given"):
            generator.synthesize(z, size)
    with pytest.raises(SpaceError):
        generator.truncate(z, 0.5)
    for psi in (float("nan"), -7.0, 7.0):
        with pytest.raises(ValueError, match="truncation"):
            generator.variant(truncation=psi)


def test_the_inverse_haar_transform_of_a_picture() -> None:
    image = torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    a, b, c, d = (image[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1))
    low = (a + b + c + d) / 2
    high = [(a + b - c - d) / 2, (a - b + c - d) / 2, (a - b - c + d) / 2]
    bands = torch.cat([low, torch.stack(high, 2).flatten(1, 2)], 1)
    torch.testing.assert_close(inverse_haar(bands), image)


def test_a_preview_is_near_the_image_and_no_measurement_depends_on_it(generator) -> None:
    w = generator.variant(truncation=0.7).sample(4, seed=3, space="w")
    with torch.no_grad():
        preview, image = generator.preview(w), generator.synthesize(w, 512)
    assert preview.shape == (4, 3, generator.preview_size, generator.preview_size)
    error = (preview - F.avg_pool2d(image, 2)).square().mean()
    assert 10 * math.log10(4 / float(error)) > 25  # 27.1 dB on the held-out faces
    assert not torch.equal(preview, generator.synthesize(w, 256))
    assert heads_file(generator.name) != preview_file(generator.name)
    assert sha256_file(heads_file(generator.name))[:16] in generator.fingerprint
    sizes = sum(f(generator.name).stat().st_size for f in (heads_file, preview_file))
    assert sizes < 4_000_000
