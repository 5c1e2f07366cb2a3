"""The direction matrix, the reconstructors and Voynov's discovery, on a generator of blobs."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from facenb.editors import Editors
from facenb.errors import FacenbError, UnknownNameError
from facenb.methods.two_stage import (
    KINDS,
    Config,
    DirectionLearner,
    DirectionMatrix,
    gram_schmidt,
    load_config,
    make_reconstructor,
    rotation_angles,
    smallest_angle,
)
from facenb.methods.two_stage.discovery import Task, ask, held_out
from facenb.seeds import random_for
from facenb.storage.checkpoints import CheckpointError, load_checkpoint, save_checkpoint

# A generator whose every latent coordinate brightens a spot of its own; the same text is run as a
# program below, so that a process can be killed in the middle of its training.
PROGRAM = """
import sys, time
import torch
from facenb.generators.base import Generator
from facenb.methods.two_stage import Config, DirectionLearner

class Blobs(Generator):
    name, resolution, latent_dim, spaces, fingerprint = "blobs", 16, 6, ("z",), "blobs-1"
    delay = 0.0
    poisoned = None  # the number of the call that returns NaN
    calls = 0
    def __init__(self):
        super().__init__()
        grid = torch.linspace(-1, 1, 16)
        angle = torch.arange(6) * torch.pi / 3
        dy, dx = grid[None] - 0.6 * angle.sin()[:, None], grid[None] - 0.6 * angle.cos()[:, None]
        spots = torch.exp(-8 * (dy.square()[:, :, None] + dx.square()[:, None, :]))
        colour = torch.tensor([1.0, 0.6, 0.2])
        self.spots = torch.nn.Parameter((spots[:, None] * colour[:, None, None]).flatten(1))
        self.freeze()
    def _synthesize(self, latents):
        time.sleep(self.delay)
        self.calls += 1
        images = (latents.values @ self.spots / 3).tanh().view(-1, 3, 16, 16)
        return images * float("nan") if self.calls == self.poisoned else images

CONFIG = Config(
    "SDD", steps=30, batch=16, count=6, space="z", matrix_rate=1e-2, reconstructor_rate=2e-3,
    reconstructor_width=0.125, held_out_batches=4,
)

if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    generator = Blobs()
    generator.delay = 0.02
    DirectionLearner(CONFIG).fit(generator, checkpoint=sys.argv[1], every=5)
"""
_blobs: dict = {"__name__": "blobs"}
exec(PROGRAM, _blobs)
Blobs, CONFIG = _blobs["Blobs"], _blobs["CONFIG"]


@pytest.fixture(scope="module")
def uninterrupted() -> DirectionLearner:
    return DirectionLearner(CONFIG).fit(Blobs())


def same(one: DirectionLearner, other: DirectionLearner) -> bool:
    """Bit for bit: directions, reconstructor, every number of the history."""
    weights = zip(
        one.reconstructor_.state_dict().values(),
        other.reconstructor_.state_dict().values(),
        strict=True,
    )
    return (
        torch.equal(one.vectors_, other.vectors_)
        and all(torch.equal(a, b) for a, b in weights)
        and one.history_.keys() == other.history_.keys()
        and all(torch.equal(one.history_[name], other.history_[name]) for name in one.history_)
        and one.held_out_ == other.held_out_
    )


# The direction matrix


def disturbed(kind: str, steps: int = 3) -> DirectionMatrix:
    matrix = DirectionMatrix(10, 4, kind, seed=1)
    optimiser = torch.optim.Adam(matrix.parameters(), lr=0.1)
    target = torch.randn(10, 4, generator=torch.Generator().manual_seed(2))
    for _ in range(steps):
        optimiser.zero_grad()
        (matrix() * target).sum().backward()
        optimiser.step()
        matrix.restore()
    return matrix


@pytest.mark.parametrize("kind", KINDS)
def test_columns_stay_unit_and_orthogonal_after_steps(kind):
    before, after = DirectionMatrix(10, 4, kind, seed=1)(), disturbed(kind)()
    assert (after - before).abs().max() > 0.05
    gram = after.T @ after
    assert gram.diagonal().detach() == pytest.approx(torch.ones(4), abs=1e-5)
    off = (gram - torch.eye(4)).abs().max()
    assert off > 0.01 if kind == "free" else off < 1e-5


def test_free_columns_get_no_gradient_along_themselves():
    matrix = DirectionMatrix(10, 4, "free", seed=1)
    matrix().square().sum().backward()  # the same for every set of unit columns
    assert matrix.weight.grad.abs().max() < 1e-6


def test_qr_with_a_positive_diagonal_is_gram_schmidt():
    columns = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)).double()
    done: list[torch.Tensor] = []
    for column in columns.T:  # the definition, one column after the other
        rest = column - sum((earlier * (earlier @ column) for earlier in done), torch.zeros(7))
        done.append(rest / rest.norm())
    assert (gram_schmidt(columns) - torch.stack(done, dim=1)).abs().max() < 1e-12
    first = columns[:, 0] / columns[:, 0].norm()
    assert (gram_schmidt(columns)[:, 0] - first).abs().max() < 1e-15


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_is_taken_bit_for_bit(kind):
    start = DirectionMatrix(10, 4, "gram-schmidt", seed=5).vectors()
    assert torch.equal(DirectionMatrix(10, 4, kind, start=start).vectors(), start)


def test_the_exponential_can_use_every_dimension():
    matrix = DirectionMatrix(6, 6, "expm", seed=3)
    assert (matrix().T @ matrix() - torch.eye(6)).abs().max() < 1e-5
    start = gram_schmidt(torch.eye(6).flip(0)).T  # determinant −1: no rotation of the identity
    assert torch.equal(DirectionMatrix(6, 6, "expm", start=start).vectors(), start)


def test_angles():
    rows = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [-1.0, 0.0, 1.0]])
    assert smallest_angle(rows) == pytest.approx(45, abs=1e-3)  # lines: a sign does not matter
    assert smallest_angle(torch.eye(3)) == 90
    turned = torch.tensor([[1.0, 0.0, 1e-4], [0.0, 1.0, 0.0], [1.0, 0.0, -1.0]])
    assert rotation_angles(rows, turned).tolist() == pytest.approx([0.0057296, 0, 180], rel=1e-3)


def test_a_matrix_that_cannot_be_says_what_was_given_and_what_is_allowed():
    with pytest.raises(ValueError, match=r"allows 1 to 10, .*given 11 directions in 10 dim"):
        DirectionMatrix(10, 11)
    assert DirectionMatrix(10, 11, "free")().shape == (10, 11)
    with pytest.raises(ValueError, match=r"start of shape \(4, 10\).* given \(10, 4\)"):
        DirectionMatrix(10, 4, start=torch.randn(10, 4))
    with pytest.raises(ValueError, match=r"'expm' starts from orthogonal .* cosine"):
        DirectionMatrix(10, 4, "expm", start=torch.ones(4, 10) + torch.eye(4, 10))
    with pytest.raises(ValueError, match="NaN"):
        DirectionMatrix(10, 4, "free", start=torch.full((4, 10), torch.nan))
    with pytest.raises(UnknownNameError, match="Did you mean 'expm'"):
        DirectionMatrix(10, 4, "exp")


# The reconstructors


@pytest.mark.parametrize(("name", "millions"), [("resnet18", 11.2), ("lenet", 0.075)])
def test_reconstructors_have_two_heads_and_the_published_size(name, millions):
    network = make_reconstructor(name, 32)
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters / 1e6 == pytest.approx(millions, rel=0.02)
    small = make_reconstructor(name, 5, width=0.25)
    before, after = torch.randn(2, 3, 3, 32, 32)
    logits, shift = small(before, after)
    assert logits.shape == (3, 5) and shift.shape == (3,)
    assert not torch.equal(logits, small(after, before)[0])  # it sees which one came first


def test_the_same_seed_makes_the_same_reconstructor_and_leaves_torchs_own_state_alone():
    state = torch.get_rng_state()
    one, same, other = (make_reconstructor("resnet18", 4, 0.125, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    for a, b, c in zip(one.parameters(), same.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b) and (a.ndim < 2 or not torch.equal(a, c))


def test_images_that_do_not_fit_a_reconstructor():
    network = make_reconstructor("lenet", 4)
    with pytest.raises(ValueError, match=r"at least 32 pixels a side, given \(16, 16\)"):
        network(torch.zeros(2, 3, 16, 16), torch.zeros(2, 3, 16, 16))
    with pytest.raises(ValueError, match=r"alike, given \(2, 3, 32, 32\) and \(1, 3, 32, 32\)"):
        network(torch.zeros(2, 3, 32, 32), torch.zeros(1, 3, 32, 32))
    with pytest.raises(UnknownNameError, match="Known: resnet18, lenet"):
        make_reconstructor("vgg", 4)
    with pytest.raises(ValueError, match="width > 0, given 0"):
        make_reconstructor("lenet", 4, width=0)


# The task


def test_shifts_are_uniform_but_for_the_smallest():
    pairs = Task(6).draw(Blobs(), 20_000, random_for(0, "test", 0))
    size = pairs.shift.abs()
    assert size.min() == 0.5 and 5.99 < size.max() <= 6
    assert float((size == 0.5).float().mean()) == pytest.approx(0.5 / 6, abs=0.01)
    assert float((pairs.shift > 0).float().mean()) == pytest.approx(0.5, abs=0.015)
    beyond = size[size > 0.5]  # uniform from there on: mean and spread of U(0.5, 6)
    assert float(beyond.mean()) == pytest.approx(3.25, abs=0.05)
    assert float(beyond.std()) == pytest.approx(5.5 / 12**0.5, abs=0.05)
    counts = torch.bincount(pairs.index, minlength=6) / 20_000
    assert counts == pytest.approx(torch.full((6,), 1 / 6), abs=0.015)
    values = pairs.latents.values
    assert float(values.mean()) == pytest.approx(0, abs=0.02)
    assert float(values.std()) == pytest.approx(1, abs=0.02)


def test_coefficients_pick_one_column():
    pairs = Task(6).draw(Blobs(), 5, random_for(0, "test", 1))
    matrix = torch.randn(6, 6)
    expected = torch.stack([matrix[:, k] for k in pairs.index]) * pairs.shift[:, None]
    assert (pairs.coefficients(6) @ matrix.T - expected).abs().max() < 1e-6


def test_random_numbers_depend_on_seed_stream_and_step_alone():
    def first(*where):
        return int(torch.randint(2**62, (1,), generator=random_for(*where)))

    assert first(0, "a", 1) == first(0, "a", 1)
    assert len({first(0, "a", 1), first(1, "a", 1), first(0, "b", 1), first(0, "a", 2)}) == 4


def test_the_gradient_reaches_the_reconstructor_and_the_columns_that_were_used():
    generator, network = Blobs(), make_reconstructor("resnet18", 6, 0.125)
    matrix = DirectionMatrix(6, 6)
    pairs = Task(6).draw(generator, 4, random_for(0, "test", 2))
    answers = ask(generator, network, matrix(), pairs)
    (answers.classification() + 0.25 * answers.regression()).backward()
    used = sorted(set(pairs.index.tolist()))
    assert (matrix.weight.grad.norm(dim=0) > 0).nonzero().flatten().tolist() == used
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert all(p.grad is None for p in generator.parameters())


def test_impossible_tasks():
    with pytest.raises(ValueError, match="at least 2 directions, given 1"):
        Task(1)
    with pytest.raises(ValueError, match=r"given minimum 7.0 and scale 6.0"):
        Task(4, minimum=7.0)
    with pytest.raises(ValueError, match=r"space 'z' or 'w', given 'w\+'"):
        Task(4, space="w+")


# Discovery


@pytest.mark.parametrize("matrix", KINDS)
def test_it_learns_to_tell_obviously_different_changes_apart(matrix):
    config = dataclasses.replace(
        CONFIG,
        steps=150,
        batch=32,
        matrix=matrix,
        matrix_rate=1e-3,
        reconstructor_rate=5e-3,
        held_out_batches=20,
    )
    state = torch.get_rng_state()
    learner = DirectionLearner(config).fit(Blobs())
    assert torch.equal(torch.get_rng_state(), state)
    assert learner.held_out_.pairs == 640
    assert learner.held_out_.accuracy > 0.9 > 5 * learner.held_out_.chance
    accuracy = learner.history_["accuracy"]
    assert accuracy.shape == (150,) and accuracy[-50:].mean() > accuracy[:50].mean() + 0.2
    assert learner.history_["regression"][-50:].mean() < learner.history_["regression"][:50].mean()
    assert learner.editors().names == tuple(f"SDD {i}" for i in range(6))
    assert learner.editors().provenance["config"]["matrix"] == matrix


def test_held_out_accuracy_of_an_untrained_reconstructor_is_chance():
    network = make_reconstructor("resnet18", 6, 0.125)
    found = held_out(Blobs(), network, torch.eye(6), Task(6), batches=20)
    assert found.accuracy == pytest.approx(found.chance, abs=0.08)
    assert network.training  # as it was


def test_provenance_is_saved_with_the_directions(uninterrupted, tmp_path):
    path = tmp_path / "directions.safetensors"
    uninterrupted.editors().save(path)
    found = Editors.load(path)
    assert found.provenance["config"] == dataclasses.asdict(CONFIG)
    assert found.provenance["generator"] == "blobs"
    assert found.provenance["held_out"] == dataclasses.asdict(uninterrupted.held_out_)


# Stopping and going on


def test_stopped_and_resumed_equals_uninterrupted(uninterrupted, tmp_path):
    path = tmp_path / "training.pt"
    generator = Blobs()
    DirectionLearner(dataclasses.replace(CONFIG, steps=13)).fit(generator, checkpoint=path)
    half = generator.calls
    resumed = DirectionLearner(CONFIG).fit(generator, checkpoint=path)
    assert generator.calls - half == 2 * (17 + 4)  # only what was left, and the held-out batches
    assert same(resumed, uninterrupted)
    assert same(DirectionLearner(CONFIG).fit(generator, checkpoint=path), uninterrupted)


def test_out_of_time_it_stops_at_a_whole_step_and_goes_on(uninterrupted, tmp_path):
    path = tmp_path / "training.pt"
    for steps in (1, 2):
        stopped = DirectionLearner(CONFIG).fit(Blobs(), checkpoint=path, seconds=0)
        assert len(stopped.history_["loss"]) == steps
    assert same(DirectionLearner(CONFIG).fit(Blobs(), checkpoint=path), uninterrupted)


def test_killed_and_resumed_equals_uninterrupted(uninterrupted, tmp_path):
    path = tmp_path / "training.pt"
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, program, path, str(torch.get_num_threads())], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    generator = Blobs()
    resumed = DirectionLearner(CONFIG).fit(generator, checkpoint=path)
    assert 0 < generator.calls < 2 * (30 + 4)
    assert same(resumed, uninterrupted)


def test_other_configurations_are_refused_field_by_field(tmp_path):
    path = tmp_path / "training.pt"
    config = dataclasses.replace(CONFIG, steps=2)
    DirectionLearner(config).fit(Blobs(), checkpoint=path)
    other = dataclasses.replace(config, batch=8, seed=1)
    expected = r"batch: 16 in the checkpoint, 8 given; seed: 0 in the checkpoint, 1 given\)"
    with pytest.raises(CheckpointError, match=expected):
        DirectionLearner(other).fit(Blobs(), checkpoint=path)
    generator = Blobs()
    generator.fingerprint = "another"
    with pytest.raises(CheckpointError, match=r"generator: 'blobs-1' in .*, 'another' given"):
        DirectionLearner(config).fit(generator, checkpoint=path)
    with pytest.raises(CheckpointError, match=r"steps: 2 in the checkpoint, 1 given"):
        DirectionLearner(dataclasses.replace(config, steps=1)).fit(Blobs(), checkpoint=path)


def test_it_stops_at_a_nan_and_names_the_step_and_the_checkpoint(uninterrupted, tmp_path):
    path = tmp_path / "training.pt"
    generator = Blobs()
    generator.poisoned = 2 * 7 + 2  # the second image of step 7
    with pytest.raises(FacenbError, match=r"SDD stopped at step 7: the loss .*nan.* step 5, .*pt"):
        DirectionLearner(CONFIG).fit(generator, checkpoint=path, every=5)
    assert same(DirectionLearner(CONFIG).fit(Blobs(), checkpoint=path), uninterrupted)
    generator = Blobs()
    generator.poisoned = 2
    with pytest.raises(FacenbError, match=r"stopped at step 0: .* No checkpoint was kept"):
        DirectionLearner(CONFIG).fit(generator)


@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda raw: raw[:9]])
def test_a_damaged_checkpoint_is_put_aside(tmp_path, damage):
    path = tmp_path / "training.pt"
    save_checkpoint(path, {"seed": 0}, {"step": 3, "values": torch.arange(100)})
    assert torch.equal(load_checkpoint(path, {"seed": 0})["values"], torch.arange(100))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match=r"damaged and was put aside as training.pt.damaged"):
        assert load_checkpoint(path, {"seed": 0}) is None
    assert not path.exists() and path.with_name("training.pt.damaged").exists()


def test_one_altered_bit_is_damage(tmp_path):
    path = tmp_path / "training.pt"
    save_checkpoint(path, {}, {"values": torch.zeros(1000)})
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    path.write_bytes(raw)
    with pytest.warns(UserWarning, match="damaged"):
        assert load_checkpoint(path, {}) is None


def test_a_file_that_is_no_checkpoint_is_never_touched(tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(b"something of somebody else's")
    with pytest.raises(CheckpointError, match="expected a training checkpoint"):
        DirectionLearner(CONFIG).fit(Blobs(), checkpoint=path)
    assert path.read_bytes() == b"something of somebody else's"


# Configurations


def test_the_paper_profile_has_the_papers_values():
    paper = load_config("SDD", "paper")
    assert (paper.count, paper.batch, paper.steps, paper.space) == (256, 32, 100_000, "w")
    assert (paper.shift_scale, paper.min_shift, paper.regression_weight) == (6, 0.5, 0.25)
    assert load_config("HDP", "paper").penalty_weight == 0.5
    assert [load_config(m, "paper").batch for m in ("SHP", "DTJ", "DTH", "HDP")] == [18, 18, 18, 12]
    assert load_config("SDD", "laptop", steps=7).steps == 7


def test_wrong_configurations():
    with pytest.raises(UnknownNameError, match="Known: SDD, SHP, HDP, DTJ, DTH"):
        Config("SSD", steps=1, batch=2)
    with pytest.raises(UnknownNameError, match="Known: smoke, smoke-w, laptop, laptop-w, gpu"):
        load_config("SDD", "desktop")
    for change, message in (
        ({"steps": 0}, "steps > 0, given 0"),
        ({"batch": 1}, "batch ≥ 2"),
        ({"matrix_rate": -1.0}, "matrix_rate > 0, given -1.0"),
        ({"draws": 1}, "draws ≥ 2"),
        ({"epsilon": 0.0}, "epsilon > 0"),
        ({"reduction": "sum"}, "one of max, mean"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(CONFIG, **change)
    with pytest.raises(ValueError, match="SHP: its penalty needs float32, given bfloat16=True"):
        Config("SHP", steps=1, batch=2, bfloat16=True)
    with pytest.raises(ValueError, match="6 dimensions"):
        DirectionLearner(dataclasses.replace(CONFIG, count=7)).fit(Blobs())


def test_a_reconstructor_that_normalises_sees_neither_light_nor_contrast():
    random = torch.Generator().manual_seed(0)
    before, after = torch.rand(2, 4, 3, 32, 32, generator=random)
    gain, shift = torch.rand(2, 1, 3, 1, 1, generator=random)
    for normalise in (True, False):
        network = make_reconstructor("lenet", 5, normalise=normalise).eval()
        plain, lit = network(before, after), network(before, after * (gain + 0.5) + shift)
        same = torch.allclose(plain[0], lit[0], atol=1e-4) and torch.allclose(
            *[x[1] for x in (plain, lit)], atol=1e-4
        )
        assert same == normalise
