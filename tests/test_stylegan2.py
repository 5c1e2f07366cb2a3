"""StyleGAN2: against the published formulation in float64, spaces, noise, gradients."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from benchmarks.stylegan2 import reference_pictures, up_filter
from facenb.errors import SpaceError
from facenb.generators.stylegan2 import StyleGAN2
from facenb.generators.stylegan2_network import (
    Layout,
    StyledConv,
    StyleGAN2Network,
    double,
    published_layout,
)
from facenb.latents import Latents
from facenb.methods.sefa import SeFa

LAYOUT = Layout((12, 10, 8, 6), z_dim=9, w_dim=7, mapping_layers=3)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def random_network(dtype: torch.dtype = torch.float64, layout: Layout = LAYOUT) -> StyleGAN2Network:
    """Every parameter random, so that nothing is hidden by a zero or a one at the start."""
    network = StyleGAN2Network(layout, precision=dtype).to(dtype)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not name.endswith("weight"):
                parameter.normal_()
        network.w_avg.normal_()
    return network


def make(dtype: torch.dtype = torch.float64) -> StyleGAN2:
    return StyleGAN2(random_network(dtype), "tiny", "abc")


def test_synthesis_is_the_grouped_formulation() -> None:
    network = random_network()
    w = torch.randn(3, LAYOUT.w_layers, LAYOUT.w_dim, dtype=torch.float64, requires_grad=True)
    ours, reference = network.synthesize(w), reference_pictures(network, w)
    torch.testing.assert_close(ours, reference, rtol=1e-10, atol=1e-10)
    y = torch.randn_like(ours)
    gradients = [torch.autograd.grad((p * y).sum(), w)[0] for p in (ours, reference)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


def test_freezing_changes_nothing() -> None:
    network = random_network()
    w = torch.randn(2, LAYOUT.w_dim, dtype=torch.float64)
    before = network.synthesize(w)
    torch.testing.assert_close(network.freeze(torch.float64).synthesize(w), before)
    assert not any(p.requires_grad for p in network.parameters())


def test_demodulated_weights_have_length_one() -> None:
    """Eq. 3: the answers to a unit impulse in each input channel have squares of sum 1."""
    conv = StyledConv(4, 5, 5, 3, up=False).double()
    impulses = torch.zeros(4, 4, 5, 5, dtype=torch.float64)
    impulses[range(4), range(4), 2, 2] = 1
    w = torch.randn(1, 3, dtype=torch.float64).expand(4, -1)
    y = conv(impulses, w, None) / math.sqrt(2)
    linear = torch.where(y > 0, y, y / 0.2)
    torch.testing.assert_close(linear.square().sum((0, 2, 3)), torch.ones(5).double())


def test_mapping_is_written_out() -> None:
    network = random_network()
    z = torch.randn(4, LAYOUT.z_dim, dtype=torch.float64)
    x = z / (z**2).mean(1, keepdim=True).add(1e-8).sqrt()
    for layer in network.mapping:
        weight, bias = layer.weight * (0.01 / math.sqrt(layer.weight.shape[1])), layer.bias * 0.01
        x = F.leaky_relu(x @ weight.T + bias, 0.2) * math.sqrt(2)
    torch.testing.assert_close(network.map(z), x)


def test_new_mapping_weights_have_the_published_size() -> None:
    layer = StyleGAN2Network(Layout((8,), 512, 512, 1)).mapping[0]
    assert 95 < float(layer.weight.detach().std()) < 105


def test_double_is_zero_insertion_and_blur() -> None:
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(double(x), up_filter(x, 2, (2, 1)))
    ones = double(torch.ones(1, 3, 6, 6))
    torch.testing.assert_close(ones[:, :, 1:-1, 1:-1], torch.ones(1, 3, 10, 10))  # gain 1 inside
    spike = torch.zeros(1, 1, 3, 3)
    spike[0, 0, 1, 1] = 16.0
    torch.testing.assert_close(double(spike)[0, 0, 2], torch.tensor([0, 3.0, 9, 9, 3, 0]))


def test_published_layouts() -> None:
    assert published_layout(256).channels == (512, 512, 512, 512, 512, 256, 128)
    assert published_layout(1024).channels == (512, 512, 512, 512, 512, 256, 128, 64, 32)
    assert published_layout(1024).w_layers == 18


def test_state_dictionary_is_as_documented() -> None:
    state = random_network().state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert shapes["mapping.0.weight"] == (7, 9) and shapes["mapping.2.weight"] == (7, 7)
    assert shapes["convs.1.weight"] == (10, 12, 3, 3) and shapes["convs.1.noise"] == (8, 8)
    assert shapes["convs.1.style.weight"] == (12, 7) and shapes["rgbs.3.weight"] == (3, 6, 1, 1)
    assert len(state) == 6 + 2 + 7 * 6 + 4 * 4


def test_clamp_bounds_every_layer() -> None:
    layout = Layout(LAYOUT.channels, 9, 7, 3, clamp=0.01)
    pictures = random_network(layout=layout).synthesize(torch.randn(2, 7).double())
    # each ToRGB at most 0.01, doubled pictures of at most as much, four resolutions
    assert float(pictures.detach().abs().max()) <= 0.04 + 1e-9


def test_spaces_agree() -> None:
    generator = make()
    z = generator.sample(3)
    z = z.with_values(z.values.double())
    w, w_plus = generator.map(z, "w"), generator.map(z, "w+")
    assert w.values.shape == (3, 7) and w_plus.values.shape == (3, 8, 7)
    pictures = generator.synthesize(z)
    assert pictures.shape == (3, 3, 32, 32) and pictures.abs().max() <= 1
    assert torch.equal(generator.synthesize(w), pictures)
    assert torch.equal(generator.synthesize(w_plus), pictures)
    assert generator.dim("z") == 9 and generator.dim("w") == generator.dim("w+") == 7
    with pytest.raises(SpaceError, match=r"'w\+' to space 'w'"):
        generator.map(w_plus, "w")
    with pytest.raises(ValueError, match="8 layers"):
        generator.synthesize(w_plus.with_values(w_plus.values[:, :5]))
    with pytest.raises(ValueError, match="dimension 7"):
        generator.synthesize(Latents(torch.zeros(1, 9), "w"))


def test_a_w_layer_reaches_its_layers_alone() -> None:
    """Layer i drives convs.i and, if odd, rgbs.(i − 1)/2: earlier feature maps do not see it."""
    network = random_network()
    seen: dict[str, list[torch.Tensor]] = {}
    for name, module in [*network.convs.named_children(), *network.rgbs.named_children()]:
        kind = "conv" if isinstance(module, StyledConv) else "rgb"
        keep = seen.setdefault(f"{kind}{name}", [])
        module.register_forward_hook(lambda m, a, out, keep=keep: keep.append(out.clone()))
    w = torch.randn(1, 8, 7, dtype=torch.float64)
    network.synthesize(w)
    for i in range(8):
        changed = w.clone()
        changed[:, i] += 1
        network.synthesize(changed)
        moved = {name for name, outs in seen.items() if not torch.equal(outs[0], outs[-1])}
        convs = {f"conv{j}" for j in range(i, 7)}
        rgbs = {f"rgb{j}" for j in range(4) if 2 * j >= i or 2 * j + 1 == i}
        assert moved == convs | rgbs


def test_layer_names_and_ranges() -> None:
    generator = make()
    assert generator.w_names == (
        "conv4", "up8", "conv8", "up16", "conv16", "up32", "conv32", "rgb32")  # fmt: skip
    layers = generator.layers()
    assert list(layers)[:5] == ["map1", "map2", "map3", "conv4", "rgb4"]
    assert layers["up16"] is generator.network.convs[3]
    assert layers["rgb32"] is generator.network.rgbs[3]
    assert generator.layer_range(4, 8) == (0, 3) and generator.layer_range(16, 32) == (3, 8)
    with pytest.raises(ValueError, match=r"\[4, 8, 16, 32\]"):
        generator.layer_range(4, 64)


def test_style_weights_are_what_w_does_to_the_styles() -> None:
    generator = make()
    weights = generator.style_weights((1, 8))
    assert list(weights) == list(generator.w_names[1:])
    step = torch.randn(7, dtype=torch.float64)
    w = torch.randn(1, 7, dtype=torch.float64)
    for name, matrix in weights.items():
        style = generator.layers()[name].style
        torch.testing.assert_close((style(w + step) - style(w))[0], matrix @ step)
    found = SeFa(components=3).fit_weights(weights)
    assert found.directions_.shape == (3, 7) and found.layers_ == generator.w_names[1:]
    with pytest.raises(ValueError, match="within 0 to 8"):
        generator.style_weights((8, 9))


def test_truncation() -> None:
    generator = make()
    z = Latents(torch.randn(4, 9, dtype=torch.float64), "z")
    w, mean = generator.map(z, "w"), generator.network.w_avg
    torch.testing.assert_close(generator.truncate(w, 0.0).values, mean.expand(4, -1))
    torch.testing.assert_close(generator.truncate(w, 1.0).values, w.values)
    half = generator.variant(truncation=0.5)
    expected = mean + 0.5 * (w.values - mean)
    torch.testing.assert_close(half.map(z, "w").values, expected)
    torch.testing.assert_close(half.map(z, "w+").values[:, 3], expected)
    part = generator.truncate(generator.map(z, "w+"), 0.5, layers=(2, 4)).values
    torch.testing.assert_close(part[:, 2:4], expected[:, None].expand(-1, 2, -1))
    assert torch.equal(part[:, :2], w.values[:, None].expand(-1, 2, -1))
    assert torch.equal(generator.synthesize(w), half.synthesize(w))  # w is taken as it is
    with pytest.raises(SpaceError, match="Map them first"):
        generator.truncate(z, 0.5)


def test_noise_is_stored_none_or_seeded() -> None:
    generator = make()
    w = Latents(torch.randn(2, 7, dtype=torch.float64), "w")
    stored = generator.synthesize(w)
    assert torch.equal(stored, generator.synthesize(w))
    seeded, again, other = (generator.variant(noise=seed).synthesize(w) for seed in (3, 3, 4))
    assert torch.equal(seeded, again) and not torch.equal(seeded, other)
    assert not torch.equal(seeded, stored)
    one = generator.variant(noise=3).synthesize(w[1])
    torch.testing.assert_close(one, seeded[1:])  # not a function of the batch
    quiet = generator.variant(noise="none").synthesize(w)
    for conv in generator.network.convs:
        conv.noise_strength.zero_()
    torch.testing.assert_close(generator.synthesize(w), quiet)
    with pytest.raises(ValueError, match="'stored', 'none' or a seed"):
        generator.variant(noise="random")


def test_every_setting_has_a_fingerprint_of_its_own() -> None:
    generator = make(torch.float32)
    variants = [
        generator,
        generator.variant(truncation=0.7),
        generator.variant(noise=1),
        generator.variant(noise=2),
        generator.variant(noise="none"),
        generator.variant(precision=torch.bfloat16),
        generator.variant(truncation=0.7, noise=1),
    ]
    assert len({v.fingerprint for v in variants}) == len(variants)
    assert variants[-1].variant(truncation=1.0, noise="stored").fingerprint == "abc"
    assert generator.truncation == 1.0 and generator.noise == "stored"


def test_gradients_by_finite_differences() -> None:
    generator = make()
    w = torch.randn(1, 7, dtype=torch.float64, requires_grad=True)
    pictures = lambda w: generator.network.synthesize(w)[:, :, ::9, ::9]  # noqa: E731
    assert torch.autograd.gradcheck(pictures, (w,))
    z = torch.randn(1, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: generator.network.map(z), (z,))


def test_bfloat16_is_nearly_the_same_picture() -> None:
    torch.manual_seed(1)
    network = StyleGAN2Network(Layout((64, 64, 32, 32), 64, 64, 4))
    generator = StyleGAN2(network, "tiny", "abc")
    w = generator.sample(8, space="w")
    exact = generator.network.synthesize(w.values)
    rounded = generator.variant(precision=torch.bfloat16).network.synthesize(w.values)
    span = exact.max() - exact.min()
    decibels = 10 * (span**2 / (exact - rounded).square().mean()).log10()
    assert decibels > 45
    assert torch.equal(generator.network.synthesize(w.values), exact)  # the variant has its own
