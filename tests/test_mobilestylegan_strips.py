"""MobileStyleGAN in strips: the published formulas, in value and in every kind of derivative."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode

from facenb import load_generator
from facenb.generators.mobilestylegan import NAME, Layout, MobileStyleGANNetwork
from facenb.generators.mobilestylegan import layers as whole_maps
from facenb.generators.mobilestylegan import stages as mobilestylegan_stages
from facenb.generators.mobilestylegan import strips as strips

SIDES = (8, 64, 128, 256, 512)
SIZES = (512, 1024)


@pytest.fixture(scope="module")
def network() -> MobileStyleGANNetwork:
    """Random weights, eight channels, float64: nothing is hidden by rounding."""
    network = MobileStyleGANNetwork(Layout(widths=(16, *[8] * 7), z_dim=6, w_dim=6)).double()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for values in [*network.parameters(), *network.buffers()]:
            values.copy_(torch.randn(values.shape, generator=random))
    return network.freeze(torch.float64)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def codes_of(network: MobileStyleGANNetwork, n: int, seed: int = 1) -> Tensor:
    layout, random = network.layout, torch.Generator().manual_seed(seed)
    codes = torch.randn(n, layout.w_layers, layout.w_dim, generator=random)
    return codes.to(network.w_avg)


def reference(
    network: MobileStyleGANNetwork,
    codes: Tensor,
    side: int,
    size: int | None = None,
    noise: list[Tensor | None] | None = None,
) -> Tensor:
    """Maps, or images, as the specification has them, a formula at a time."""
    state = network.state_dict()
    noise = network.stored_noise() if noise is None else noise
    layer = iter(range(codes.shape[1]))

    def styled(x: Tensor, name: str, code: int) -> Tensor:
        style = codes[:, code] @ state[f"{name}.style.weight"].T + state[f"{name}.style.bias"]
        return x * style[:, :, None, None]

    def convolved(x: Tensor, i: int) -> Tensor:
        x = styled(x, f"convs.{i}", next(layer)) / math.sqrt(9 * x.shape[1])
        if i:
            x = F.conv2d(x, state[f"convs.{i}.depthwise"], padding=1, groups=x.shape[1])
        x = F.conv2d(x, state[f"convs.{i}.weight"], padding=0 if i else 1)
        x = x + state[f"convs.{i}.bias"][:, None, None]
        return F.leaky_relu(x if noise[i] is None else x + noise[i], 0.2)

    x = convolved(state["constant"].expand(len(codes), -1, -1, -1), 0)
    for block in range(side.bit_length() - 3):
        x = haar_image(styled(x, f"ups.{block}", next(layer)))
        x = convolved(convolved(x, 2 * block + 1), 2 * block + 2)
    if size is None:
        return x
    x = styled(x, "rgb", codes.shape[1] - 1) / math.sqrt(x.shape[1])
    bands = F.conv2d(x, state["rgb.weight"], state["rgb.bias"])
    return bands[:, :3] / 2 if size == side else haar_image(bands)


def haar_image(bands: Tensor) -> Tensor:
    n, channels, height, width = bands.shape
    maps = channels // 4
    low = bands[:, :maps]
    vertical, horizontal, diagonal = bands[:, maps:].view(n, maps, 3, height, width).unbind(2)
    rows = [
        torch.stack([low + v * vertical + h * horizontal + v * h * diagonal for h in (1, -1)], -1)
        for v in (1, -1)
    ]
    return torch.stack(rows, 3).reshape(n, maps, 2 * height, 2 * width) / 2


def compare(
    network: MobileStyleGANNetwork,
    codes: Tensor,
    side: int,
    size: int | None = None,
    noise: list[Tensor | None] | None = None,
) -> None:
    """Values with and without a gradient, and the gradient of a random sum of them."""

    def way(values: Tensor) -> Tensor:
        if size is None:
            return network.features(values, side, noise)
        return network.synthesize(values, noise, size)

    values, others = codes.clone().requires_grad_(), codes.clone().requires_grad_()
    found = way(values)
    assert "Synthesis" in type(found.grad_fn).__name__  # and not the layers over whole maps
    with torch.no_grad():
        assert torch.equal(way(codes), found)
    expected = reference(network, wide(others) if codes.ndim == 2 else others, side, size, noise)
    close(found, expected)
    random = torch.Generator().manual_seed(2)
    weights = torch.randn(found.shape, generator=random, dtype=found.dtype)
    found, expected = (
        torch.autograd.grad(images, inputs, weights)[0]
        for images, inputs in ((found, values), (expected, others))
    )
    close(found, expected)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(
        found, expected, rtol=0, atol=1e-11 * float(expected.detach().abs().max())
    )


def wide(w: Tensor) -> Tensor:
    """w (N, 6) for all layers."""
    return w[:, None].expand(-1, 23, -1)


@pytest.mark.parametrize("side", SIDES)
def test_maps_and_their_gradient(network, side) -> None:
    compare(network, codes_of(network, 2), side)


@pytest.mark.parametrize("size", SIZES)
def test_images_and_their_gradient(network, size) -> None:
    compare(network, codes_of(network, 1), 512, size)


@pytest.mark.parametrize("threads", (1, 2, 3))
@pytest.mark.parametrize("n", (1, 2, 5))
def test_batches_and_threads(network, n, threads) -> None:
    torch.set_num_threads(threads)
    compare(network, codes_of(network, n), 128)


def test_one_code_for_all_layers_other_noise_and_strides(network) -> None:
    codes = codes_of(network, 2)
    compare(network, codes[:, 3], 128)
    compare(network, codes.transpose(0, 1).contiguous().transpose(0, 1), 128)
    drawn = [torch.randn_like(noise) for noise in network.stored_noise()]
    for noise in ([None] * 15, drawn, [None, *drawn[1:4], None, *drawn[5:]]):
        compare(network, codes, 128, noise=noise)


@pytest.mark.parametrize("counts", ((1, 1), (3, 5), (7, 9)))
def test_any_number_of_strips(network, counts, monkeypatch) -> None:
    stages = ((16, True, 1), (64, False, counts[0]), (512, False, counts[1]))
    monkeypatch.setattr(mobilestylegan_stages, "_STAGES", stages)
    compare(network, codes_of(network, 2), 256)


def test_the_layers_over_whole_maps_are_the_specification_too(network) -> None:
    codes = codes_of(network, 2)
    for side, size in ((4, None), (128, None), (512, 512), (512, 1024)):
        found = network.whole(codes, network.stored_noise(), side, size)
        torch.testing.assert_close(found, reference(network, codes, side, size))
    torch.testing.assert_close(network.features(codes, 4), reference(network, codes, 4))


def test_a_gradient_has_a_gradient(network) -> None:
    codes, found = codes_of(network, 1)[:, 0], []
    for way in (lambda w: network.features(w, 16), lambda w: reference(network, wide(w), 16)):
        values = codes.clone().requires_grad_()
        (first,) = torch.autograd.grad(way(values).square().sum(), values, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), values)[0])
    torch.testing.assert_close(*found)


def test_forward_mode_and_transforms_of_torch_func(network) -> None:
    codes = codes_of(network, 1)[:, 0]
    direction = torch.ones_like(codes)

    def expected(w: Tensor) -> Tensor:
        return reference(network, wide(w), 16).square().sum()

    def found(w: Tensor) -> Tensor:
        return network.features(w, 16).square().sum()

    slope = torch.func.jvp(expected, (codes,), (direction,))[1]
    torch.testing.assert_close(torch.func.jvp(found, (codes,), (direction,))[1], slope)
    torch.testing.assert_close((torch.func.grad(found)(codes) * direction).sum(), slope)
    with forward_ad.dual_level(), torch.enable_grad():
        moving = forward_ad.make_dual(codes, direction)
        torch.testing.assert_close(forward_ad.unpack_dual(found(moving)).tangent, slope)

    def slope_at(w: Tensor) -> Tensor:
        return torch.func.jvp(found, (w,), (direction,))[1]

    curvature = torch.func.jvp(slope_at, (codes,), (direction,))[1]
    nearby = [torch.func.jvp(expected, (codes + step,), (direction,))[1] for step in (1e-5, -1e-5)]
    torch.testing.assert_close(curvature, (nearby[0] - nearby[1]) / 2e-5, rtol=1e-4, atol=0)


def test_noise_may_be_what_is_learned(network) -> None:
    codes = codes_of(network, 1)
    noise = [n.clone().requires_grad_() for n in network.stored_noise()]
    gradient = torch.autograd.grad(network.features(codes, 16, noise).square().sum(), noise[4])[0]
    expected = torch.autograd.grad(
        reference(network, codes, 16, noise=noise).square().sum(), noise[4]
    )[0]
    torch.testing.assert_close(gradient, expected)


def test_hooks_see_every_layer(network) -> None:
    codes, seen = codes_of(network, 1), {}
    other = copy.deepcopy(network)
    other.convs[6].register_forward_hook(lambda _m, _i, out: seen.update(out=out.clone()))
    other.synthesize(codes, size=512)
    torch.testing.assert_close(seen["out"], network.features(codes, 32))


def test_inference_mode_in_several_threads(network) -> None:
    torch.set_num_threads(2)
    codes = codes_of(network, 2)
    expected = network.features(codes, 128)
    with torch.inference_mode():
        for n in (1, 2):
            found = network.features(codes[:n].clone(), 128)
            torch.testing.assert_close(found, expected[:n])


def test_a_single_image_can_be_given_up_half_way(network) -> None:
    """Explorer does so, by a mode of torch that is of a thread: the steps are in the caller's."""
    torch.set_num_threads(2)
    steps = []

    class Counted(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            steps.append(function)
            return function(*args, **(kwargs or {}))

    with torch.no_grad(), Counted():
        network.synthesize(codes_of(network, 1))
    assert steps.count(F.conv2d) == 2 * 4 + 2 * 3 * 4  # 8 to 64; 128 to 512 in four strips


def test_what_is_kept_for_the_gradient_is_freed_by_it(network) -> None:
    values = codes_of(network, 1).requires_grad_()
    total = network.features(values, 64).sum()
    torch.autograd.grad(total, values)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(total, values)


@pytest.mark.parametrize(
    ("precision", "limits"), ((torch.float32, (1e-5, 1e-3)), (torch.bfloat16, (0.02, 0.1)))
)
def test_the_published_network(precision, limits) -> None:
    """An image and its gradient, whose signs of small numbers rounding decides, in L2."""
    generator = load_generator(NAME)
    network = generator.variant(precision=precision).network
    values = wide(generator.sample(1, seed=11, space="w").values).clone().requires_grad_()
    images = network.synthesize(values, size=512), reference(generator.network, values, 512, 512)
    gradients = [torch.autograd.grad(image.square().sum(), values)[0] for image in images]
    for (found, expected), limit in zip((images, gradients), limits, strict=True):
        assert (found - expected).norm() < limit * expected.norm()


def test_the_haar_transform_in_strips() -> None:
    random = torch.Generator().manual_seed(3)
    x, bands = torch.randn(2, 3, 5, 16, generator=random), torch.randn(2, 16, generator=random)
    out, other = torch.empty(2, 6, 10, 4), torch.randn(2, 6, 10, 4, generator=random)
    ordered = strips.by_bands(x)
    strips.inverse_haar(ordered, strips.by_bands(bands), out=out)
    expected = whole_maps.inverse_haar((x * bands[:, None, None]).permute(0, 3, 1, 2))
    torch.testing.assert_close(out, 2 * expected.permute(0, 2, 3, 1))
    strips.inverse_haar(ordered, torch.ones(2, 16), out=out)  # its transpose: ⟨Hx, y⟩ = ⟨x, Hᵀy⟩
    torch.testing.assert_close((out * other).sum(), (ordered * strips.haar(other)).sum())


def test_the_rows_that_a_strip_needs() -> None:
    conv = strips.Separable(torch.empty(1), torch.empty(1), torch.empty(1))
    block = strips.Block(16, conv, conv)
    assert block.source(strips.Rows(0, 16)) == (0, 8)
    assert block.source(strips.Rows(0, 4)) == (0, 3)  # to row 5 of 16, so to row 2 of 8
    assert block.source(strips.Rows(5, 6)) == (1, 4)
    assert block.source(strips.Rows(12, 16)) == (5, 8)
