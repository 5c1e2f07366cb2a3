"""Fields in principal coordinates, and fields in files."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from facenb.errors import FacenbError, UnknownNameError
from facenb.methods.sgf import MappingConfig, SurrogateGradientField, load_config
from facenb.methods.sgf.files import load_fields, read_fields, save_fields, shipped_field
from facenb.methods.sgf.state import principal_axes

D, C, K = 9, 2, 4
SMALL = MappingConfig(layers=2, steps=80, batch=32, learning_rate=5e-3, components=K)


def flat(n: int = 200) -> torch.Tensor:
    """Latents (N, 9) whose spread in the last five dimensions is next to nothing."""
    codes = torch.randn(n, D, generator=torch.Generator().manual_seed(0))
    return codes * torch.tensor([4.0, 3, 2, 1, 0.01, 0.01, 0.01, 0.01, 0.01]) + 5


@pytest.fixture(scope="module")
def field() -> SurrogateGradientField:
    codes = flat()
    conditions = torch.tanh(codes[:, :C] - 5)
    return SurrogateGradientField(SMALL).fit_latents(codes, conditions, ("left", "right"))


def test_principal_axes_of_a_known_cloud():
    codes = flat(4000)
    centre, axes = principal_axes(codes, K)
    torch.testing.assert_close(centre, codes.mean(0))
    torch.testing.assert_close(axes @ axes.T, torch.eye(K), atol=1e-5, rtol=0)
    assert (axes.abs() - torch.eye(D)[:K]).abs().max() < 0.1  # the largest spread first
    assert principal_axes(codes, D) == principal_axes(codes, None) == (None, None)


def test_it_edits_within_the_span_of_its_axes(field):
    codes = flat()[:6]
    conditions = torch.tanh(codes[:, :C] - 5)
    assert field.dimension == D and field.coordinates(codes).shape == (6, K)
    walk = field.manipulate(codes, conditions, field.shifted(conditions, {"left": 1.0}))
    moved = walk.latents - codes
    assert moved.norm(dim=1).min() > 0.05
    outside = moved - moved @ field.axes_.T @ field.axes_
    assert outside.abs().max() < 1e-5 * moved.abs().max() + 1e-6
    assert field.radius_.shape == (32,) and field.spectral_radius(codes, conditions).shape == (6,)


def test_without_components_it_takes_the_latents_themselves():
    codes = flat()
    conditions = torch.tanh(codes[:, :C] - 5)
    plain = SurrogateGradientField(replace(SMALL, components=None)).fit_latents(codes, conditions)
    assert plain.axes_ is None and plain.coordinates(codes) is codes


def test_files_have_fields_in_half_precision(field, tmp_path):
    path = tmp_path / "fields.safetensors"
    save_fields(path, {"w": field}, "w", {"command": "test"})
    found, provenance = read_fields(path)
    assert provenance == {"command": "test"} and list(found) == ["w"]
    codes = flat()[:6]
    conditions = torch.tanh(codes[:, :C] - 5)
    change = torch.tensor([1.0, 0.0])
    again, before = (f.field(codes, conditions, change) for f in (found["w"], field))
    assert again.dtype == torch.float32
    torch.testing.assert_close(again, before, atol=2e-2 * float(before.abs().max()), rtol=0)
    assert found["w"].range_.check(conditions).outside.sum() == 0
    (tmp_path / "other.safetensors").write_bytes(b"no tensors")
    with pytest.raises(FacenbError, match="expected safetensors"):
        read_fields(tmp_path / "other.safetensors")


def test_the_fields_that_ship():
    fields, provenance = load_fields("sgf_attributes")
    assert provenance["generator"] == "mobilestylegan-ffhq-1024"
    w = fields["w"]
    assert (w.mapping_.layers, w.mapping_.dimension, w.dimension) == (15, 128, 512)
    assert {"smile", "gender", "glasses"} <= set(w.names_) and "AU12" not in w.names_
    assert shipped_field("attributes", "painter") is None
    with pytest.raises(UnknownNameError):
        load_fields("sgf_colours")


def test_w_takes_fifteen_blocks_and_the_paper_all_dimensions():
    laptop, paper = (load_config(profile, "w") for profile in ("laptop", "paper"))
    assert (laptop.layers, laptop.components) == (15, 128)
    assert (paper.layers, paper.components) == (15, None)
    assert load_config("laptop").layers == 6 and load_config("laptop").components is None
