"""The surrogate gradient field: Eq. 6, Algorithm 1, the mapping's training, and the editor."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch

from facenb import load_generator, load_scorers
from facenb.editors import Editor, condition_on, traversal
from facenb.errors import FacenbError, SpaceError, UnknownNameError
from facenb.latents import Latents
from facenb.methods.sgf import (
    ALREADY_MET,
    CONFIGS,
    DIVERGED,
    OUT_OF_STEPS,
    REACHED,
    AuxiliaryMapping,
    MappingConfig,
    SGFEditor,
    SurrogateGradientField,
    fit_fields,
    fit_sgf,
    jacobian,
    load_config,
    sgf_editors,
    spectral_radius,
    surrogate_field,
    train_mapping,
)
from facenb.methods.sgf import training as sgf_training
from facenb.sampling import observe, sample_scored
from facenb.storage.checkpoints import CheckpointError
from facenb.widgets.explorer.engine import Engine
from facenb.widgets.explorer.state import EditState

D, C = 12, 3


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Linear:
    """F(z, c) = Az + Bc with a spectral radius that is known."""

    def __init__(self, radius: float) -> None:
        turn, _ = torch.linalg.qr(random(D, D).double())
        self.A = turn @ torch.diag(torch.linspace(-radius, 0, D).double()) @ turn.T
        self.B = random(D, C, seed=1).double()

    def __call__(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return z @ self.A.T + c @ self.B.T


z, c, change = random(5, D, seed=2).double(), random(5, C, seed=3).double(), random(5, C).double()

# --- Eq. 6 in closed form


@pytest.mark.parametrize("order", [0, 1, 2, 7])
def test_the_series_is_the_sum_of_its_powers(order):
    F = Linear(0.8)
    powers = sum(torch.linalg.matrix_power(F.A, k) for k in range(order + 1))
    assert torch.allclose(surrogate_field(F, z, c, change, order), change @ (powers @ F.B).T)


def test_the_series_comes_to_the_exact_solve_at_the_rate_of_the_spectral_radius():
    F = Linear(0.8)
    exact = surrogate_field(F, z, c, change, "exact")
    truth = torch.linalg.solve(torch.eye(D).double() - F.A, F.B @ change.T).T
    assert torch.allclose(exact, truth)
    for order in (1, 5, 20):
        error = (surrogate_field(F, z, c, change, order) - exact).norm(dim=1)
        assert (error <= 0.8 ** (order + 1) * exact.norm(dim=1) * 1.001).all()
    assert torch.allclose(surrogate_field(F, z, c, change, 80), exact, atol=1e-6)


def test_beyond_a_radius_of_one_the_series_runs_away_from_the_exact_solve():
    F = Linear(1.2)
    exact = surrogate_field(F, z, c, change, "exact")
    errors = [(surrogate_field(F, z, c, change, m) - exact).norm() for m in (1, 20, 40)]
    assert 10 * errors[0] < errors[1] < errors[2] / 10


def test_spectral_radius_of_a_known_matrix_which_is_not_its_norm():
    F = Linear(0.8)
    assert torch.allclose(spectral_radius(F, z, c), torch.full((5,), 0.8).double())

    def skewed(z, c):
        return z @ torch.tensor([[0.5, 3.0], [0.0, 0.25]]).double().T

    x = z[:, :2]
    assert torch.allclose(spectral_radius(skewed, x, c), torch.full((5,), 0.5).double())


def mapping(seed: int = 0, **given) -> AuxiliaryMapping:
    return AuxiliaryMapping(D, C, **{"layers": 3, "seed": seed} | given).double().eval()


@pytest.mark.parametrize("modulation", ["feature", "scalar"])
def test_automatic_jacobians_agree_with_autograd_and_with_differences(modulation):
    F = mapping(modulation=modulation)
    found = jacobian(lambda x: F(x, c), z)
    for i in range(len(z)):
        one = torch.autograd.functional.jacobian(lambda x, i=i: F(x[None], c[i : i + 1])[0], z[i])
        assert torch.allclose(found[i], one)
    automatic = surrogate_field(F, z, c, change, 2)
    assert torch.allclose(automatic, surrogate_field(F, z, c, change, 2, 1e-6), atol=1e-4)
    finite = surrogate_field(F, z, c, change, 0, difference=1)
    assert torch.allclose(finite, F(z, c + change) - F(z, c))  # what the re-implementation takes


@pytest.mark.parametrize("order", [-1, 1.5, True, "inexact"])
def test_an_order_that_is_none_is_refused(order):
    with pytest.raises(ValueError, match="expected an integer ≥ 0 or 'exact'"):
        surrogate_field(Linear(0.5), z, c, change, order)


# --- the mapping


def test_no_linear_layer_stretches_anything():
    F = mapping(modulation="scalar", coefficient=0.7)
    for stack, norm in ((F.linear, 0.7), (F.reader, 1.0), (F.affine, 1.0)):
        sizes = torch.linalg.matrix_norm(stack(), 2)
        assert torch.allclose(sizes, torch.full_like(sizes, norm))


def test_power_iteration_comes_near_the_exact_norm_while_training():
    F = AuxiliaryMapping(D, C, layers=3).train()
    for _ in range(60):
        weights = F.linear()
    assert torch.allclose(torch.linalg.matrix_norm(weights, 2), torch.ones(3), atol=0.02)


@pytest.mark.parametrize("modulation", ["feature", "scalar"])
def test_each_sample_is_normalised_alone(modulation):
    F = mapping(modulation=modulation)
    together = F(z, c)
    assert torch.allclose(together[:1], F(z[:1], c[:1]), atol=1e-12)
    other = z.clone()
    other[1:] *= 100
    assert torch.equal(F(other, c)[0], together[0])


def test_a_mapping_of_no_known_kind_is_refused():
    with pytest.raises(ValueError, match="'feature' or 'scalar', given 'vector'"):
        AuxiliaryMapping(D, C, modulation="vector")
    with pytest.raises(ValueError, match="at least 1"):
        AuxiliaryMapping(D, C, layers=0)


def test_the_paper_profile_has_the_consensus_of_the_reimplementations():
    paper = load_config("paper")
    assert (paper.layers, paper.batch, paper.learning_rate) == (6, 8, 2e-4)
    assert paper.steps * paper.batch == 25 * 100_000
    assert paper.noise == 0 and CONFIGS["laptop"].noise == 0  # as in the paper
    with pytest.raises(UnknownNameError, match="laptop"):
        load_config("laptops")


# --- training

SMALL = MappingConfig(layers=2, steps=60, batch=32, learning_rate=5e-3)


def small_data(n: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    codes = random(n, D)
    return codes, codes[:, :C] + 0.1 * random(n, C, seed=1)


def test_training_reduces_the_reconstruction_error():
    codes, conditions = small_data()
    _, losses = train_mapping(MappingConfig(layers=2, steps=300, batch=64), codes, conditions)
    assert losses.shape == (300,)
    assert losses[-20:].mean() < 0.5 * losses[:5].mean()


def test_a_training_that_was_killed_goes_on_bit_for_bit(tmp_path, monkeypatch):
    codes, conditions = small_data()
    whole, losses = train_mapping(SMALL, codes, conditions)
    monkeypatch.setattr(sgf_training, "_EVERY", 20)
    advance, path = sgf_training._advance, tmp_path / "sgf.checkpoint"

    def killed(*given):
        if given[-1] == 45:
            raise KeyboardInterrupt
        return advance(*given)

    monkeypatch.setattr(sgf_training, "_advance", killed)
    with pytest.raises(KeyboardInterrupt):
        train_mapping(SMALL, codes, conditions, path)
    steps = []
    monkeypatch.setattr(
        sgf_training, "_advance", lambda *given: steps.append(given[-1]) or advance(*given)
    )
    resumed, again = train_mapping(SMALL, codes, conditions, path)
    assert steps[0] == 40 and torch.equal(again, losses)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    steps.clear()
    train_mapping(SMALL, codes, conditions, path)
    assert not steps  # finished: read back


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    codes, conditions = small_data()
    path = tmp_path / "sgf.checkpoint"
    train_mapping(SMALL, codes, conditions, path)
    other = MappingConfig(layers=2, steps=60, batch=32, learning_rate=1e-3)
    with pytest.raises(CheckpointError, match=r"rate: 0.005 in the checkpoint, 0.001 given"):
        train_mapping(other, codes, conditions, path)
    with pytest.raises(CheckpointError, match="data"):
        train_mapping(SMALL, codes + 1, conditions, path)


def test_a_rate_that_blows_up_stops_with_a_word():
    codes, conditions = small_data()
    with pytest.raises(FacenbError, match=r"not finite at step .* given 1e\+30"):
        train_mapping(MappingConfig(layers=2, steps=50, learning_rate=1e30), codes, conditions)


# --- Algorithm 1, in a world whose truth is known

NAMES = ("left", "middle", "right")
MIX = torch.eye(C, D) + 0.6 * torch.eye(C, D).roll(1, 0)  # entangled: c = tanh(z·MIX / 2)


def world(codes: torch.Tensor) -> torch.Tensor:
    return torch.tanh(codes @ MIX.to(codes).T / 2)


@pytest.fixture(scope="module")
def field() -> SurrogateGradientField:
    codes = random(4000, D)
    config = MappingConfig(layers=3, noise=2.0, steps=1200, batch=256, learning_rate=5e-3)
    return SurrogateGradientField(config).fit_latents(codes, world(codes), NAMES)


def start(n: int = 24, seed: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    codes = random(n, D, seed=seed)
    codes = 0.6 * codes
    return codes, world(codes)


def test_an_edit_moves_its_target_and_holds_the_rest(field):
    codes, before = start()
    target = field.shifted(before, {"left": 1.0})
    found = field.manipulate(codes, before, target, world, max_steps=40)
    moved = (world(found.latents) - before) / field.scale_
    assert found.counts()[REACHED] >= 22
    assert 0.8 < moved[:, 0].mean() < 1.2
    assert moved[:, 1:].abs().mean() < 0.2
    along = MIX[0] / MIX[0].norm()  # what a boundary's normal would be: it drags "right" along
    naive = (world(codes + 2 * along) - before) / field.scale_
    leak, naive_leak = (
        change[:, 1:].abs().mean() / change[:, 0].mean() for change in (moved, naive)
    )
    assert leak < 0.6 * naive_leak


def test_noise_makes_the_series_converge_and_the_exact_solve_agree(field):
    assert field.radius_.median() < 0.9
    codes = random(40, D, seed=9)
    before = world(codes)
    tame = field.spectral_radius(codes, before) < 0.9
    assert tame.float().mean() > 0.5
    given = codes[tame], before[tame], torch.eye(C)[0]
    exact = field.field(*given, "exact")
    errors = [(field.field(*given, m) - exact).norm() for m in (0, 1, 4, 32)]
    assert errors[0] > errors[1] > errors[2] > errors[3]
    assert errors[3] < 0.05 * exact.norm()


def test_a_batch_is_walked_each_for_itself(field):
    codes, before = start(6)
    target = field.shifted(before, {"middle": 1.0})
    target[2] = before[2]
    together = field.manipulate(codes, before, target, world, max_steps=12)
    assert len(set(together.steps.tolist())) > 1  # or the test would say nothing
    for i in range(6):
        row = slice(i, i + 1)
        alone = field.manipulate(codes[row], before[row], target[row], world, max_steps=12)
        assert torch.allclose(alone.latents, together.latents[row], atol=1e-5)
        assert alone.steps[0] == together.steps[i] and alone.status[0] == together.status[i]


def test_statuses_and_what_is_kept(field):
    codes, before = start(4)
    target = field.shifted(before, {"left": 0.8})
    target[0] = before[0]

    def sees_nothing_of_the_last(z: torch.Tensor) -> torch.Tensor:
        seen = world(z)
        last = (z - codes[3]).norm(dim=1) < 2.0
        moved_on = last & ((z - codes[3]).norm(dim=1) > 0.5)
        return seen.masked_fill(moved_on[:, None], torch.nan)

    found = field.manipulate(codes, before, target, sees_nothing_of_the_last, max_steps=30)
    assert found.status == (ALREADY_MET, REACHED, REACHED, DIVERGED)
    assert found.counts() == {REACHED: 2, ALREADY_MET: 1, DIVERGED: 1}
    assert torch.equal(found.latents[0], codes[0]) and found.steps[0] == 0
    assert torch.isfinite(found.latents).all() and torch.isfinite(found.conditions).all()
    assert found.path.shape == (31, 4, D) and found.conditions.shape == (31, 4, C)
    assert torch.equal(found.path[found.steps[3], 3], found.latents[3])  # the last good one
    assert torch.allclose(found.conditions[-1], world(found.latents), atol=1e-5)
    share = found.progress()
    assert share[0, 1] == 0 and share[-1, 1] >= 0.9 and share[-2 - 30 + found.steps[1], 1] < 0.9
    short = field.manipulate(codes, before, target, world, max_steps=1)
    assert short.status[1:] == (OUT_OF_STEPS,) * 3 and (short.steps[1:] == 1).all()
    none = field.manipulate(codes, before, target, world, max_steps=0)
    assert torch.equal(none.latents, codes)


def test_a_code_that_leaves_the_data_is_stopped(field):
    codes, before = start(2)
    target = field.shifted(before, {"left": 1e4})
    found = field.manipulate(codes, before, target, max_steps=20)
    assert found.status == (DIVERGED, DIVERGED)
    assert (found.latents.norm(dim=1) <= field.limit_).all()
    assert found.out_of_range.all()


def test_the_fast_version_takes_as_many_steps_as_the_way_has(field):
    codes, before = start(3)
    target = field.shifted(before, {"left": 0.5})
    found = field.manipulate(codes, before, target, step=0.25, tolerance=0.0)
    assert found.steps.tolist() == [4, 4, 4] and set(found.status) == {REACHED}
    assert torch.allclose(found.conditions[-1], target, atol=1e-5)


def test_targets_outside_the_training_conditions_are_reported(field):
    codes, before = start(2)
    target = before.clone()
    target[1, 0] = 3.0  # tanh never gets there
    assert field.manipulate(codes, before, target, world).out_of_range.tolist() == [False, True]


def test_a_higher_order_warns_where_the_series_does_not_converge():
    codes, conditions = small_data()
    wild = SurrogateGradientField(SMALL).fit_latents(codes, conditions, NAMES)
    wild.radius_ = torch.tensor([0.5, 1.5])
    few = codes[:2], conditions[:2], conditions[2:4]
    with pytest.warns(UserWarning, match=r"on 50% .* 1 or more \(up to 1.50\)"):
        wild.manipulate(*few, order=4, max_steps=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wild.manipulate(*few, max_steps=1)  # order 1 is no series to converge


def test_errors_say_what_was_expected(field):
    codes, before = start(2)
    with pytest.raises(UnknownNameError, match=r"condition 'lefty'\. Did you mean 'left'"):
        field.shifted(before, {"lefty": 1})
    with pytest.raises(ValueError, match=r"target: expected 3 numbers a latent \(left, middle"):
        field.manipulate(codes, before, torch.zeros(2))
    with pytest.raises(ValueError, match=r"expected conditions \(2, 3\), given \(2, 2\)"):
        field.manipulate(codes, before[:, :2], before)
    with pytest.raises(ValueError, match=r"expected latents \(N, 12\), given \(2, 5\)"):
        field.manipulate(codes[:, :5], before, before)
    with pytest.raises(ValueError, match="target: expected finite numbers"):
        field.manipulate(codes, before, before * torch.nan)
    with pytest.raises(ValueError, match="0 < step ≤ 1"):
        field.manipulate(codes, before, before, step=2)
    with pytest.raises(ValueError, match=r"given \(200, 12\) and \(100, 3\)"):
        SurrogateGradientField(SMALL).fit_latents(small_data()[0], small_data()[1][:100])
    constant = small_data()[1]
    constant[:, 1] = 2.0
    with pytest.raises(ValueError, match="middle never vary"):
        SurrogateGradientField(SMALL).fit_latents(small_data()[0], constant, NAMES)


# --- the editor


def test_an_editor_like_any_other(field):
    codes, _ = start(5)
    latents = Latents(codes, "z")
    editor = SGFEditor("left", field, world)
    assert isinstance(editor, Editor)
    assert torch.equal(editor.edit(latents, 0).values, codes)
    strengths = torch.tensor([-1.5, -0.5, 0.0, 0.5, 1.5])
    path = traversal(editor, latents, strengths).values.unflatten(0, (5, 5))
    left = world(path.flatten(0, 1))[:, 0].unflatten(0, (5, 5))
    assert (left.diff(dim=1) > 0).all()  # monotone in strength
    each = editor.edit(latents, strengths)
    for i in range(5):
        assert torch.allclose(each.values[i], path[i, i], atol=1e-5)
    with torch.inference_mode():  # as strips are drawn
        assert torch.allclose(editor.edit(latents, 0.5).values, path[:, 3], atol=1e-5)


def test_held_directions_hold_the_editor_too(field):
    latents = Latents(start(3)[0], "z")
    held = torch.eye(D)[:1]
    edited = condition_on(SGFEditor("left", field, world), held).edit(latents, 1.0)
    assert torch.allclose(edited.values[:, 0], latents.values[:, 0], atol=1e-6)


def test_the_same_code_is_looked_at_once(field):
    asked = []
    editors = sgf_editors(field, lambda z: asked.append(len(z)) or world(z))
    assert editors.names == NAMES
    latents = Latents(start(3)[0], "z")
    traversal(editors["left"], latents, [-1.0, 0.0, 1.0])
    editors["right"].edit(latents, 1.0)
    assert asked == [3]


def test_an_editor_refuses_what_it_cannot_do(field):
    with pytest.raises(UnknownNameError, match="left, middle, right"):
        SGFEditor("top", field, world)
    editor = SGFEditor("left", field, world)
    with pytest.raises(SpaceError, match="'w'"):
        editor.edit(Latents(start(2)[0], "w"), 1.0)
    with pytest.raises(ValueError, match=r"shape \(2,\), given \(3,\)"):
        editor.edit(Latents(start(2)[0], "z"), torch.ones(3))


def test_on_the_generator_brightness_moves_and_warmth_stays():
    generator = load_generator("digiface-dcgan-64")
    scorers = load_scorers("light", generator.framing)
    known = sample_scored(generator, scorers, 2048, seed=5)
    config = MappingConfig(layers=3, noise=1.0, steps=600, batch=256, learning_rate=4e-3)
    look = observe(generator, scorers)
    field = SurrogateGradientField(config).fit_latents(
        known.latents.values, known.scores, known.names
    )
    fresh = sample_scored(generator, scorers, 32, seed=6)
    target = field.shifted(fresh.scores, {"brightness": 1.5})
    found = field.manipulate(fresh.latents.values, fresh.scores, target, look)
    moved = (look(found.latents) - fresh.scores) / field.scale_
    assert found.counts().get(REACHED, 0) >= 28
    assert moved[:, 0].mean() > 1.3 and moved[:, 1].abs().mean() < 0.35
    frame = Engine(generator, sgf_editors(field, look), scorers).frame(
        EditState(seed=3, strengths={"brightness": 2.0})
    )
    assert frame.after.mean() > frame.before.mean() + 0.1


def test_a_field_is_fitted_once(tmp_path, monkeypatch):
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path))
    monkeypatch.setattr("facenb.parallel.WORTHWHILE", 1)
    codes, conditions = small_data()
    first = fit_sgf(SMALL, codes, conditions, NAMES)
    monkeypatch.setattr(sgf_training, "_advance", None)  # training again would fail
    again = fit_sgf(SMALL, codes, conditions, NAMES)
    assert torch.equal(
        first.field(codes, conditions, conditions), again.field(codes, conditions, conditions)
    )


def test_fields_side_by_side_are_those_of_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path))
    monkeypatch.setattr("facenb.parallel.WORTHWHILE", 1)
    codes, conditions = small_data()
    configs = {"one": SMALL, "two": replace(SMALL, noise=1.0)}
    found = fit_fields(configs, codes, conditions, NAMES)
    assert len(list(tmp_path.rglob("*.checkpoint"))) == 2
    for label, config in configs.items():
        alone = SurrogateGradientField(config).fit_latents(codes, conditions, NAMES)
        torch.testing.assert_close(found[label].loss_, alone.loss_)

    def refuse(*_args, **_given):
        raise AssertionError("trained again")

    monkeypatch.setattr(sgf_training, "_advance", refuse)
    again = fit_fields(configs, codes, conditions, NAMES)
    assert torch.equal(again["two"].loss_, found["two"].loss_)
