"""The embedded DCGAN: the same pictures as the plain network, behind the shared interface."""

import pytest
import torch

from benchmarks import plain_dcgan
from facenb.errors import FacenbError, SpaceError, UnknownNameError
from facenb.generators import load_generator
from facenb.generators.dcgan import DCGAN
from facenb.latents import Latents


@pytest.fixture(scope="module")
def generator():
    return load_generator("digiface-dcgan-64")


def test_same_pictures_as_the_plain_network(generator):
    z = generator.sample(16, seed=5)
    with torch.no_grad():
        expected = plain_dcgan()(z.values.view(16, 100, 1, 1))
        found = generator.synthesize(z)
    assert found.shape == (16, 3, 64, 64)
    assert (found - expected).abs().max() < 1e-4


def test_same_gradient_as_the_plain_network(generator):
    z = generator.sample(2, seed=5).values.requires_grad_()
    weight = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    (expected,) = torch.autograd.grad((plain_dcgan()(z[..., None, None]) * weight).sum(), z)
    (found,) = torch.autograd.grad((generator.synthesize(Latents(z, "z")) * weight).sum(), z)
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_bfloat16_changes_the_picture_by_less_than_rounding_it(generator):
    z = generator.sample(32, seed=5)
    found = load_generator("digiface-dcgan-64", dtype=torch.bfloat16).synthesize(z)
    assert found.dtype == torch.float32
    error = (found - generator.synthesize(z)).square().mean()
    assert 10 * torch.log10(4 / error) > 53  # dB; rounding to 8 bits alone gives 59


def test_parameters_are_frozen(generator):
    assert not generator.training
    assert not any(p.requires_grad for p in generator.parameters())
    with pytest.raises(RuntimeError, match="frozen"):
        generator.train()


def test_sampling_is_torch_randn_and_a_smaller_sample_is_the_beginning_of_a_larger(generator):
    torch.manual_seed(0)
    assert torch.equal(generator.sample(4000, seed=0).values, torch.randn(4000, 100))
    few, many = generator.sample(7, seed=1).values, generator.sample(301, seed=1).values
    assert torch.equal(few, many[:7])


def test_layers_are_named_in_order_and_hooks_on_them_fire(generator):
    assert list(generator.layers()) == ["conv1", "conv2", "conv3", "conv4", "rgb"]
    seen = {}
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out.shape}))
        for name, layer in generator.layers().items()
    ]
    generator.synthesize(generator.sample(2))
    for hook in hooks:
        hook.remove()
    assert [tuple(shape[1:]) for shape in seen.values()] == [
        (512, 4, 4), (256, 8, 8), (128, 16, 16), (64, 32, 32), (3, 64, 64),
    ]  # fmt: skip


def test_unknown_generator_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'digiface-dcgan-64'\? Known: "):
        load_generator("digiface-dcgan")


def test_wrong_space_shape_and_type_name_expected_and_given(generator):
    with pytest.raises(SpaceError, match=r"has the spaces 'z'; given 'w'"):
        generator.synthesize(Latents(torch.zeros(1, 100), "w"))
    with pytest.raises(SpaceError, match="given 'w\\+'"):
        generator.sample(2, space="w+")
    with pytest.raises(ValueError, match=r"dimension 100, given shape \(1, 512\)"):
        generator.synthesize(Latents(torch.zeros(1, 512), "z"))
    with pytest.raises(TypeError, match="Wrap a tensor as Latents"):
        generator.synthesize(torch.zeros(1, 100))
    with pytest.raises(ValueError, match="n ≥ 1, given 0"):
        generator.sample(0)


def test_weights_of_another_network_are_refused():
    state = {"main.0.weight": torch.zeros(128, 512, 4, 4)}
    with pytest.raises(FacenbError, match=r"given \[\(128, 512, 4, 4\)\]"):
        DCGAN(state, "other", "0")
