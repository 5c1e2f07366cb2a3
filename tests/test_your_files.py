"""docs/your_files.md: its example runs, and files of latents come as what they are."""

from __future__ import annotations

import re
from pathlib import Path

import foreign
import numpy as np
import pytest
import torch
from tiny import DIM, LAYERS, StyledGenerator, TinyGenerator

from facenb.errors import FacenbError, SpaceError, UnknownNameError
from facenb.generators import load_generator, read_latents

LAYERS_OF_FOREIGN = 2 * len(foreign.WIDTHS)


class Converting(StyledGenerator):
    """Takes 18 rows, as a generator with StyleGAN2's W does: the first of every five."""

    def from_stylegan2(self, codes: torch.Tensor) -> torch.Tensor:
        return codes[..., [0, 5, 10, 15], :]


def save_e4e(path: Path, state: foreign.State, mean: torch.Tensor) -> Path:
    """A whole checkpoint: encoder, decoder, a row of the mean for each layer, options."""
    whole = {f"decoder.{key}": value for key, value in state.items()}
    whole |= {"encoder.input_layer.0.weight": torch.zeros(8, 3, 3, 3)}
    rows = mean.repeat(LAYERS_OF_FOREIGN, 1)
    torch.save({"state_dict": whole, "latent_avg": rows, "opts": {"lr": np.float64(0.1)}}, path)
    return path


def test_the_page_runs(repository, tmp_path, monkeypatch):
    text = (repository / "docs/your_files.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path / "cache"))
    random = torch.Generator().manual_seed(0)
    state, mean = foreign.rosinality(), torch.randn(foreign.W, generator=random)
    save_e4e(tmp_path / "e4e_ffhq_encode.pt", state, mean)
    codes = torch.randn(2, LAYERS_OF_FOREIGN, foreign.W, generator=random)
    torch.save(codes, tmp_path / "latents.pt")
    direction = np.random.default_rng(0).normal(size=foreign.W)
    np.save(tmp_path / "age.npy", direction)
    names = {}
    exec(example, names)
    assert torch.equal(names["G"].network.w_avg, mean)
    shifted = codes + 3.0 * torch.tensor(direction / np.linalg.norm(direction)).float()
    shown = foreign.rosinality_shows(state, w=shifted).float().clamp(-1, 1)
    torch.testing.assert_close(names["images"], shown, rtol=0, atol=2e-4)
    moved = names["coarse"]["age"].edit(names["latents"], 3.0).values
    torch.testing.assert_close(moved[:, :4], shifted[:, :4])
    assert torch.equal(moved[:, 4:], codes[:, 4:])


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
@pytest.mark.parametrize(
    ("shape", "space", "expected"),
    [
        ((DIM,), "w", (1, DIM)),
        ((3, DIM), "w", (3, DIM)),
        ((3, 1, DIM), "w", (3, DIM)),
        ((LAYERS, DIM), "w+", (1, LAYERS, DIM)),
        ((2, LAYERS, DIM), "w+", (2, LAYERS, DIM)),
        ((2, 18, DIM), "w+", (2, LAYERS, DIM)),
        ((18, DIM), "w+", (1, LAYERS, DIM)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_latents_are_of_the_space_that_their_shape_says(
    tmp_path, suffix, shape, space, expected, dtype
):
    values = np.random.default_rng(1).normal(size=shape).astype(dtype)
    path = tmp_path / f"codes{suffix}"
    if suffix == ".npy":
        np.save(path, values)
    else:
        torch.save(torch.from_numpy(values), path)
    found = read_latents(path, Converting())
    assert (found.space, tuple(found.values.shape)) == (space, expected)
    assert found.values.dtype == torch.float32
    rows = torch.from_numpy(values).float()
    if 18 in shape:
        rows = rows[..., [0, 5, 10, 15], :]
    torch.testing.assert_close(found.values.flatten(), rows.flatten())


def test_a_generator_without_a_w_takes_latents_of_z(tmp_path):
    np.save(tmp_path / "z.npy", np.zeros((3, DIM), np.float32) + 1)
    assert read_latents(tmp_path / "z.npy", TinyGenerator()).space == "z"
    np.save(tmp_path / "w.npy", np.zeros((3, LAYERS, DIM), np.float32) + 1)
    with pytest.raises(SpaceError, match=r"has latents of 'w\+', .* has 'z'"):
        read_latents(tmp_path / "w.npy", TinyGenerator())


def test_latents_that_do_not_fit_say_so(tmp_path):
    G = Converting()
    np.save(tmp_path / "a.npy", np.ones((3, DIM + 1), np.float32))
    with pytest.raises(ValueError, match=f"expected latents \\(N, {DIM}\\) in space 'w'"):
        read_latents(tmp_path / "a.npy", G)
    np.save(tmp_path / "a.npy", np.ones((3, 7, DIM), np.float32))
    with pytest.raises(ValueError, match=f"expected latents \\(N, {LAYERS}, {DIM}\\)"):
        read_latents(tmp_path / "a.npy", G)
    with pytest.raises(UnknownNameError, match="latent space 'W'"):
        read_latents(tmp_path / "a.npy", G, "W")
    torch.save({"a": torch.ones(1, DIM), "b": torch.ones(1, DIM)}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="expected one array of latents, given a, b"):
        read_latents(tmp_path / "a.pt", G)
    torch.save({"model": [1, 2]}, tmp_path / "a.pt")
    with pytest.raises(FacenbError, match="expected a tensor, or a dictionary"):
        read_latents(tmp_path / "a.pt", G)
    np.save(tmp_path / "a.npy", np.full((1, DIM), np.nan, np.float32))
    with pytest.raises(ValueError, match="finite"):
        read_latents(tmp_path / "a.npy", G)


@pytest.mark.parametrize("prefix", ["", "module.", "generator.", "g_ema.", "_orig_mod."])
@pytest.mark.parametrize("place", ["g_ema", "generator", "state_dict"])
def test_wrappers_of_a_known_state(tmp_path, prefix, place):
    state = {f"{prefix}{key}": value for key, value in foreign.rosinality().items()}
    others = {"discriminator.convs.0.weight": torch.zeros(2, 2)} if prefix else {}
    torch.save({place: state | others, "epoch": 3}, tmp_path / "a.pt")
    G = load_generator(tmp_path / "a.pt")
    z = G.sample(1)
    shown = foreign.rosinality_shows(foreign.rosinality(), z.values).float().clamp(-1, 1)
    torch.testing.assert_close(G.synthesize(z), shown, rtol=0, atol=2e-4)


def test_the_moving_average_comes_first(tmp_path):
    average, current = foreign.rosinality(), foreign.rosinality()
    current["to_rgb1.bias"] = current["to_rgb1.bias"] + 5
    both = {f"generator.{k}": v for k, v in current.items()}
    both |= {f"generator_ema.{k}": v for k, v in average.items()}
    torch.save({"state_dict": both}, tmp_path / "a.pt")
    G = load_generator(tmp_path / "a.pt")
    assert torch.equal(G.network.rgbs[0].bias, average["to_rgb1.bias"].flatten())
