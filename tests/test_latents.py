"""Latents know their space."""

import numpy as np
import pytest
import torch

from facenb.errors import SpaceError, UnknownNameError
from facenb.latents import Latents


def test_using_latents_in_the_wrong_space_names_both():
    with pytest.raises(SpaceError, match=r"expected latents in space 'w', given .* 'z'"):
        Latents(torch.zeros(2, 4), "z").require("w")


def test_arithmetic_keeps_the_space_and_refuses_to_mix():
    z = Latents(torch.ones(2, 4), "z")
    assert torch.equal((z + torch.ones(4)).values, torch.full((2, 4), 2.0))
    assert torch.equal((z - z).values, torch.zeros(2, 4))
    with pytest.raises(SpaceError, match=r"'w'.*'z'|'z'.*'w'"):
        z + Latents(torch.ones(2, 4), "w")
    with pytest.raises(SpaceError):
        Latents.cat([z, Latents(torch.ones(2, 4), "w")])


def test_indexing_keeps_a_batch():
    z = Latents(torch.arange(12.0).view(3, 4), "z")
    assert z[1].values.tolist() == [[4, 5, 6, 7]]
    assert z[-1].values.tolist() == [[8, 9, 10, 11]]
    assert len(z[1:]) == 2 and len(list(z)) == 3
    assert z[torch.tensor([True, False, True])].values[:, 0].tolist() == [0, 8]
    assert z.repeat_interleave(2).values[:, 0].tolist() == [0, 0, 4, 4, 8, 8]


@pytest.mark.parametrize(
    ("values", "space", "error", "message"),
    [
        (torch.zeros(4), "z", ValueError, r"expected shape \(N, d\) in space 'z', given \(4,\)"),
        (torch.zeros(2, 4), "w+", ValueError, r"expected shape \(N, L, d\)"),
        (torch.zeros(0, 4), "z", ValueError, "empty batch"),
        (torch.tensor([[0.0, torch.nan]]), "z", ValueError, r"1 NaN .* index \(0, 1\)"),
        (torch.zeros(2, 4), "y", UnknownNameError, "Known: z, w, w\\+"),
        (torch.zeros(2, 4, dtype=torch.long), "z", TypeError, "int64"),
        ([[0.0]], "z", TypeError, "list"),
    ],
)
def test_bad_latents_say_what_was_expected_and_given(values, space, error, message):
    with pytest.raises(error, match=message):
        Latents(values, space)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_an_array_of_floats_becomes_a_tensor_of_its_own(kind: str):
    array = np.linspace(-1, 1, 8).reshape(2, 4).astype(kind)
    latents = Latents(array, "w")
    assert latents.values.dtype == torch.float32
    array[:] = 9
    assert latents.values.abs().max() <= 1
    with pytest.raises(TypeError, match="int64"):
        Latents(np.zeros((2, 4), dtype="int64"), "w")
