"""Methods compared on faces whose scores are their latents, so that every measure has its value."""

import math
import time
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import facenb
from facenb.editors import LinearEditor
from facenb.errors import SpaceError, UnknownNameError
from facenb.generators import Generator, load_generator
from facenb.latents import Latents
from facenb.metrics.compare import compare
from facenb.metrics.compare_table import FEWEST, MEASURES
from facenb.metrics.preservation import embed, false_acceptance_threshold
from facenb.metrics.trials import strength_for
from facenb.sampling import score_once
from facenb.scorers import Attribute, load_identity, load_scorers

DIM, N = 4, 32
NAMES = ("smile", "age", "hat", "quality")
SMILE, AGE, HAT, QUALITY = torch.eye(DIM)


class Painter(Generator):
    """z → w = 2z → w+ of two layers; the first pixels of the image are a tenth of w."""

    name, resolution, latent_dim, fingerprint = "painter", 8, DIM, "p1"
    spaces = ("z", "w", "w+")

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.drawn = 0

    def _map(self, latents: Latents, space: str) -> Latents:
        if latents.space == "z":
            return self.map(Latents(2 * latents.values, "w"), space)
        if (latents.space, space) == ("w", "w+"):
            return Latents(latents.values[:, None].repeat(1, 2, 1), "w+")
        return super()._map(latents, space)

    def _synthesize(self, latents: Latents) -> torch.Tensor:
        self.drawn += len(latents)
        images = torch.zeros(len(latents), 3, 8, 8)
        images[:, 0, 0, :DIM] = self.map(latents, "w+").values.mean(1) / 10
        return images


class Reader(nn.Module):
    """Reads z back from the image: its score "smile" is the first coordinate of z, and so on."""

    names = NAMES
    attributes = tuple(
        Attribute(name, "", "", "", "quality" if name == "quality" else "semantic", "", "")
        for name in NAMES
    )

    def __init__(self, spoil: bool = False) -> None:
        super().__init__()
        self.spoil, self.fingerprint = spoil, f"r{spoil}"

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores = 5 * images[:, 0, 0, :DIM]
        return scores / 0 if self.spoil else scores


class Angle(nn.Module):
    """An identity that turns with the age: by 1 radian for each unit."""

    def __init__(self, threshold: float | None) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(2))
        self.threshold = threshold

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        angle = 5 * images[:, 0, 0, 1]
        return torch.stack([angle.cos(), angle.sin()], 1)


@dataclass
class Slow:
    editor: LinearEditor
    name: str = "slow"
    space: str = "z"
    sizes: list[int] = field(default_factory=list)

    def edit(self, latents: Latents, strength: float | torch.Tensor) -> Latents:
        time.sleep(0.05)
        self.sizes.append(len(latents))
        return self.editor.edit(latents, strength)


def line(direction: torch.Tensor, space: str = "z") -> LinearEditor:
    return LinearEditor("line", direction, space)


# Half of the faces smile and have to stop, half have to begin; each is 1 away from its other side.
FACES = torch.tensor([-1.0, 1.0] * (N // 2))[:, None] * SMILE - 5 * AGE
THRESHOLDS = torch.zeros(DIM)
PER_CHANGE = "side effects / change"
DEVIATIONS = torch.tensor([2.0, 0.5, 1.0, 1.0])
PURE, ENTANGLED = {"smile": line(SMILE)}, {"smile": line(SMILE + AGE)}
STRENGTHS = [1.0, 2.0]
# At 2, ENTANGLED moves smile and age by √2. At its strength for 75 %, 1.75, by 1.237.
IDENTITY = Angle(math.cos(1.2))


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path))


def run(methods, values=FACES, space="z", targets=("smile",), strengths=STRENGTHS, **options):
    options = {"thresholds": THRESHOLDS, "deviations": DEVIATIONS, "resamples": 50} | options
    generator, scorers = options.pop("generator", Painter()), options.pop("scorers", Reader())
    latents = Latents(values, space)
    return compare(generator, scorers, methods, latents, targets, strengths, **options)


def test_a_curve_and_its_area_by_hand():
    found = run({"pure": PURE, "entangled": ENTANGLED}, strengths=[0.5, 1.5, 2.0])
    pure, entangled = (found.curve(method, "smile") for method in ("pure", "entangled"))
    assert pure.index.tolist() == [0.5, 1.5, 2]
    assert pure["success"].tolist() == [0, 1, 1] and (pure["disentanglement"] == 1).all()
    assert entangled["success"].tolist() == [0, 1, 1]
    assert entangled["disentanglement"].tolist() == [1, 0.5, 0.5]  # age, and not the hat
    assert entangled["harmonic mean"].tolist() == pytest.approx([0, 2 / 3, 2 / 3])
    step = np.array([0.5, 1.5, 2.0]) / math.sqrt(2)
    assert entangled["target's change"].tolist() == pytest.approx(step / 2, abs=1e-6)
    assert entangled["side effects"].tolist() == pytest.approx(step / 0.5 / 2, abs=1e-6)
    mds = found.intervals("mds")
    assert mds.loc[("pure", "smile")].tolist() == [1, 1, 1]
    assert mds.loc[("entangled", "smile")].tolist() == [0.75] * 3  # from (0, 1) to (1, 0.5)
    assert mds.loc[("entangled", "mean"), "mds"] == 0.75


def test_what_counts_as_a_change_is_the_callers():
    labels = run({"entangled": ENTANGLED}, change="label")  # age rises from −5 to −3.6 at most
    assert labels.intervals("mds").loc[("entangled", "smile"), "mds"] == 1
    near = run({"entangled": ENTANGLED}, FACES + 4 * AGE, change="label")  # from −1, up or down
    assert near.intervals("mds").loc[("entangled", "smile"), "mds"] == 1 - 0.5 * 0.5 * 0.5
    alone = run({"entangled": ENTANGLED}, counted=["age"])
    assert alone.intervals("mds").loc[("entangled", "smile"), "mds"] == 0.5
    with_quality = run({"entangled": ENTANGLED}, counted=NAMES)
    assert with_quality.intervals("mds").loc[("entangled", "smile"), "mds"] == pytest.approx(
        1 - 1 / 6
    )


def test_strengths_side_effects_and_identity_by_hand():
    methods = {"pure": PURE, "entangled": ENTANGLED, "hat": {"smile": line(SMILE + 0.5 * HAT)}}
    found = run(methods, strengths=[0.5, 1.5], identity=IDENTITY)
    rows = found.at_level().loc["smile"]
    assert rows.index.tolist() == list(methods)
    assert rows["strength"].tolist() == pytest.approx([1.25] * 3)
    assert rows["reached"].all()
    # 1.25/√2 < 1: linear between the strengths tried promised more than the faces do
    assert rows["success"].tolist() == [1, 0, 1]
    assert rows.loc["pure", ["identity", "attributes", PER_CHANGE]].tolist() == [1, 1, 0]
    assert rows.loc["entangled", ["identity", "attributes"]].isna().all()
    assert rows.loc["entangled", PER_CHANGE] == pytest.approx(2)  # (2 / 0.5 of age, 0) / 2
    assert rows.loc["entangled", "side effects"] == pytest.approx(1.25 / math.sqrt(2) / 0.5 / 2)
    assert rows.loc["entangled", "worst"] == pytest.approx(1.25 / math.sqrt(2) / 0.5)
    assert (rows["quality"] == 0).all()
    assert rows.loc["hat", PER_CHANGE] == pytest.approx(0.5 * 2 / 2)
    effects = found.side_effects().loc["smile"]
    assert effects.loc["pure", ["age", "hat", "mean"]].tolist() == [0, 0, 0]
    assert effects.loc["entangled", ["age", "hat", "mean"]].tolist() == pytest.approx([4, 0, 2])
    assert effects["smile"].isna().all() and "quality" not in effects

    found = run(methods, identity=IDENTITY)  # strengths 1 and 2
    rows = found.at_level().loc["smile"]
    assert rows.loc["entangled", "strength"] == pytest.approx(1.75)
    ends = ["success", "identity", "attributes", "attributes low", "attributes high"]
    assert rows.loc["entangled", ends].tolist() == [1, 0, 0.5, 0.5, 0.5]


def test_a_strength_is_found_on_other_faces_than_those_it_is_judged_on():
    rows = run({"pure": PURE}).data  # which faces are which depends on the seed alone
    assert sorted(torch.cat([rows.calibration, rows.test]).tolist()) == list(range(N))
    far = FACES.clone()
    far[rows.test, 0] *= 1.5
    found = run({"pure": PURE}, far, strengths=[0.5, 1.5, 2.5], level=1)
    found = found.at_level().loc[("smile", "pure")]
    assert found["reached"] and found["strength"] == 1.5  # all faces that are 1 away
    falls = (far[rows.test, 0] > 0).double().mean()
    assert found["success"] == falls  # from +1.5 to 0 is over, from −1.5 to 0 is not
    other = run({"pure": PURE}, seed=1).data
    assert other.calibration.tolist() != rows.calibration.tolist()


def test_strengths_tried_on_the_calibration_faces_alone():
    settings = {"calibration": 0.25, "identity": IDENTITY}
    generator, methods = Painter(), {"pure": PURE, "entangled": ENTANGLED}
    few = run(methods, generator=generator, curves=False, equal=None, **settings)
    assert generator.drawn == N + 2 * len(STRENGTHS) * (N // 4)
    columns = ["strength", "reached", "success", "identity", "attributes", PER_CHANGE]
    for level in (0.3, 1.0):
        both = [run(methods, level=level, curves=c, **settings) for c in (False, True)]
        few, everywhere = both
        assert few.data.calibration.tolist() == everywhere.data.calibration.tolist()
        assert len(few.data.calibration) == N // 4 and len(few.data.test) == N - N // 4
        np.testing.assert_array_equal(*(c.at_level()[columns].astype(float) for c in both))
    counted = len(few.data.swept) * few.curve("pure", "smile")["success"]
    assert (counted == counted.round()).all()
    assert few.data.edits["pure", "smile"].swept.shape[1] == N // 4


def test_equal_side_effects_by_hand():
    methods = {"entangled": ENTANGLED, "hat": {"smile": line(SMILE + 0.5 * HAT)}}
    found = run(methods, strengths=[0.5, 1.5], equal="side effects", level=0.5)
    rows = found.at_level().loc["smile"]
    # age in halves of itself and the hat as it is, mean of two scores: √2 and √(1/20) a strength
    expected = [0.5 / math.sqrt(0.5), 1.5]
    assert rows["strength"].tolist() == pytest.approx(expected)
    assert rows["reached"].tolist() == [True, False]
    assert rows["side effects"].tolist() == pytest.approx([0.5, 1.5 * math.sqrt(0.05)], abs=1e-4)
    assert found.data.protocol.equal == "side effects"
    assert found.difference("entangled", "hat", "success")["difference"].isna().all()  # not equal


@pytest.mark.parametrize("fraction", [0.0, 0.03, 1.0])
def test_calibration_leaves_faces_on_both_sides(fraction):
    with pytest.raises(ValueError, match="leaves faces on both sides, given"):
        run({"pure": PURE}, calibration=fraction)


def test_the_strength_for_a_rate_is_linear_between_those_tried():
    strengths, success = [1.0, 2.0, 4.0], [0.2, 0.6, 0.4]
    assert strength_for(0.1, strengths, success) == (0.5, True)
    assert strength_for(0.5, strengths, success) == (pytest.approx(1.75), True)
    assert strength_for(0.6, strengths, success) == (2, True)
    assert strength_for(0.7, strengths, success) == (2, False)  # the best, not the strongest
    assert strength_for(0.1, strengths, [0.0] * 3) == (1, False)
    for wrong in ({"level": 75}, {"level": 0.0}, {"equal": "identity"}):
        with pytest.raises(ValueError, match="expected success or side effects and a level above"):
            run({"pure": PURE}, **wrong)


def test_an_edit_that_goes_nowhere_or_backwards_has_no_side_effects_per_move():
    found = run({"hat": {"smile": line(HAT)}, "back": {"smile": line(-SMILE)}})
    rows = found.at_level().loc["smile"]
    assert not rows["reached"].any() and (rows["success"] == 0).all()
    assert rows["strength"].tolist() == [1, 1]
    assert rows[PER_CHANGE].isna().all() and found.side_effects()["mean"].isna().all()
    assert found.intervals("mds")["mds"].tolist() == [0, 0, 0, 0]
    assert found.table().loc["hat", ["identity", PER_CHANGE]].tolist() == ["—", "—"]


def spread(n: int = 60) -> torch.Tensor:
    return torch.randn(n, DIM, generator=torch.Generator().manual_seed(0))


def test_methods_are_paired():
    leaning = {"smile": line(SMILE + 0.6 * AGE), "age": line(AGE + 0.3 * SMILE)}
    methods = {"pure": PURE | {"age": line(AGE)}, "leaning": leaning, "again": leaning}
    found = run(methods, spread(), targets=["smile", "age"], identity=IDENTITY, resamples=200)
    for measure in MEASURES:
        same = found.difference("leaning", "again", measure)
        assert (same[["difference", "low", "high"]] == 0).all(axis=None)
        assert not same["significant"].any()
    assert found.at_level().loc[("smile", "pure"), "identity"] == 1  # each face is its own person
    table, mds = found.difference("pure", "leaning"), found.intervals("mds")["mds"]
    assert table.index.tolist() == ["smile", "age", "mean"]
    gap = mds["pure"] - mds["leaning"]
    assert table["difference"].tolist() == pytest.approx(gap.tolist())
    assert table.loc["mean", "difference"] == pytest.approx(gap[["smile", "age"]].mean())
    assert table["significant"].tolist() == [True, False, True]  # age moves no smile by 2
    assert (table["low"] <= table["difference"]).all() and table.loc["mean", "low"] > 0
    # unpaired, the width would be that of both intervals together
    ends = found.intervals("mds").xs("smile", level="target")
    apart = np.hypot(*(ends["high"] - ends["low"])[["pure", "leaning"]])
    assert table.loc["smile", "high"] - table.loc["smile", "low"] < apart
    back = found.difference("leaning", "pure")
    assert back["low"].tolist() == pytest.approx((-table["high"]).tolist())


def test_intervals_are_those_of_the_faces_drawn():
    values = spread(40)
    found = run({"pure": PURE}, values, strengths=[0.7], resamples=500)
    success = found.intervals("mds").loc[("pure", "smile")]  # kept 1: the area is the success rate
    rate = (values[:, 0].abs() < 0.7).double().mean()
    assert success["mds"] == pytest.approx(float(rate))
    half = 1.96 * math.sqrt(rate * (1 - rate) / 40)
    assert success["high"] - success["mds"] == pytest.approx(half, rel=0.25)
    again = run({"pure": PURE}, values, strengths=[0.7], resamples=500)
    pd.testing.assert_frame_equal(found.intervals("mds"), again.intervals("mds"))
    other = run({"pure": PURE}, values, strengths=[0.7], resamples=500, seed=5)
    assert other.intervals("mds")["mds"].tolist() == found.intervals("mds")["mds"].tolist()
    assert other.intervals("mds")["low"].tolist() != found.intervals("mds")["low"].tolist()


def test_editors_of_every_space_from_latents_in_z_or_w():
    methods = {space: {"smile": line(SMILE + AGE, space)} for space in ("z", "w", "w+")}
    steps = {"z": [1.0, 2.0], "w": [2.0, 4.0], "w+": [2.0, 4.0]}  # w = 2z
    found = run(methods, strengths=steps, identity=IDENTITY)
    columns = ["success", "disentanglement", "target's change", "side effects"]
    expected = found.curve("z", "smile")[columns].to_numpy()
    for space in ("w", "w+"):
        assert np.allclose(found.curve(space, "smile")[columns], expected, atol=1e-6)
    rows = found.at_level().loc["smile"]
    assert rows["strength"].tolist() == pytest.approx([1.75, 3.5, 3.5])
    assert rows[PER_CHANGE].tolist() == pytest.approx([2, 2, 2])
    del methods["z"]
    lifted = run(methods, 2 * FACES, "w", strengths=steps)
    assert lifted.intervals("mds")["mds"].tolist() == [0.75] * 4
    with pytest.raises(SpaceError, match="no mapping from space 'w' to space 'z'"):
        run({"z": PURE}, 2 * FACES, "w")


def test_targets_that_a_method_lacks_are_missing_and_no_error():
    methods = {"both": PURE | {"age": line(AGE)}, "smile only": PURE, "none": {}}
    found = run(methods, spread(), targets=["smile", "age"], identity=IDENTITY)
    mds = found.intervals("mds")["mds"]
    assert mds["smile only"].isna().tolist() == [False, True, False]  # the mean of what is there
    assert mds["smile only", "mean"] == mds["smile only", "smile"]
    assert mds["none"].isna().all() and mds["both"].notna().all()
    rows = found.at_level()
    assert rows.loc[("age", "smile only")].drop("reached").isna().all()
    assert not rows.loc[("age", "smile only"), "reached"]
    assert found.cost().loc["smile only"].isna().tolist() == [False, True, False]
    table = found.table()
    assert table.loc["none"].tolist() == ["—"] * len(MEASURES) + ["0 of 2", "—"]
    assert table.loc["both", "targets"] == "2 of 2"
    difference = found.difference("both", "smile only")
    assert difference["difference"].tolist() == [0, pytest.approx(math.nan, nan_ok=True), 0]
    assert found.difference("both", "none")["difference"].isna().all()
    with pytest.raises(UnknownNameError, match="unknown curve 'none: age'"):
        found.curve("none", "age")


def test_a_difference_at_a_rate_leaves_out_targets_where_one_method_does_not_reach_it():
    methods = {"pure": PURE | {"age": line(AGE)}, "weak": PURE | {"age": line(AGE + 9 * HAT)}}
    found = run(methods, spread(), targets=["smile", "age"])
    assert not found.at_level().loc[("age", "weak"), "reached"]
    difference = found.difference("pure", "weak", "attributes")
    assert difference["difference"].isna().tolist() == [False, True, False]
    assert found.difference("pure", "weak")["difference"].notna().all()


def test_the_table_says_what_the_frames_say():
    found = run({"pure": PURE, "entangled": ENTANGLED}, identity=IDENTITY)
    table = found.table()
    assert table.columns.tolist() == [*MEASURES, "targets", "ms per edit"]
    row = table.loc["entangled"]
    assert row["attributes"] == "0.50 [0.50, 0.50]" and row[PER_CHANGE] == "2.00 [2.00, 2.00]"
    assert row["identity"] == "0.00 [0.00, 0.00]" and row["targets"] == "1 of 1"
    without = run({"pure": PURE})
    assert without.table().loc["pure", "identity"] == "—"
    assert without.at_level()["identity"].isna().all()


def test_the_cost_is_of_editing_alone():
    slow = Slow(line(SMILE))
    found = run({"slow": {"smile": slow}, "pure": PURE})
    assert slow.sizes == [25, N - 25] * len(STRENGTHS) + [N // 2]  # in blocks, then the test
    cost = found.cost()
    assert 0.05 / (N // 2) < cost.loc["slow", "smile"] < 0.1 / (N // 2)
    assert cost.loc["pure", "mean"] < 0.01 / (N // 2)
    assert found.at_level().loc[("smile", "slow"), "seconds"] == cost.loc["slow", "smile"]
    found.table(), found.side_effects(), found.difference("slow", "pure", "success")
    assert len(slow.sizes) == 5  # tables edit nothing


def test_nothing_is_scored_twice():
    generator = Painter()
    run({"pure": PURE}, generator=generator, equal=None)
    assert generator.drawn == N * (1 + len(STRENGTHS))
    run({"pure": PURE}, generator=generator, equal=None)
    assert generator.drawn == N * 3
    run({"pure": PURE}, generator=generator, equal=None, strengths=[*STRENGTHS, 3.0])
    assert generator.drawn == N * 4


def test_only_successes_are_embedded():
    generator, half = Painter(), N // 2
    run({"back": {"smile": line(-SMILE)}}, generator=generator, identity=IDENTITY)
    assert generator.drawn == N * 3 + half  # the test edits are scored, and none succeeded
    run({"pure": PURE}, generator=generator, identity=IDENTITY, strengths=[3.0])
    # a sweep; the test edits scored and embedded, and the people that they were embedded
    assert generator.drawn == N * 3 + half + N + 3 * half


def test_few_faces_have_no_interval():
    found = run({"pure": PURE}, FACES[: 2 * FEWEST - 2])
    row = found.at_level().loc[("smile", "pure")]
    assert row["success"] == 1 and math.isnan(row["success low"])
    assert found.table().loc["pure", "success"] == "1.00"
    assert found.intervals("mds").notna().all(axis=None)  # of all faces
    assert not found.difference("pure", "pure", "success")["significant"].any()


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="scores of the unedited faces: expected finite"):
        run({"pure": PURE}, scorers=Reader(spoil=True))
    with pytest.raises(ValueError, match="thresholds: expected finite"):
        run({"pure": PURE}, thresholds=THRESHOLDS * math.nan)
    with pytest.raises(ValueError, match="'hat' does not vary"):
        run({"pure": PURE}, deviations=torch.tensor([1.0, 1.0, 0.0, 1.0]))
    with pytest.raises(ValueError, match="one number for each of 4 scores, given shape"):
        run({"pure": PURE}, deviations=DEVIATIONS[:2])
    for wrong in ([2.0, 1.0], [0.0, 1.0], [-1.0], [], [1.0, math.nan], [1.0, math.inf]):
        with pytest.raises(ValueError, match="strengths of pure: expected increasing"):
            run({"pure": PURE}, strengths=wrong)
    with pytest.raises(UnknownNameError, match="unknown method of strengths 'pure'"):
        run({"pure": PURE}, strengths={"pur": STRENGTHS})
    with pytest.raises(UnknownNameError, match=r"unknown score 'smiel'.*'smile'"):
        run({"pure": PURE}, targets="smiel")
    with pytest.raises(ValueError, match="at least one target"):
        run({"pure": PURE}, targets=[])
    with pytest.raises(ValueError, match="deviation, label; given"):
        run({"pure": PURE}, change="labels")
    with pytest.raises(TypeError, match=r"mapping of editors.*take \.editors\(\)"):
        run({"lines": [LinearEditor("smile", SMILE)]})
    with pytest.raises(ValueError, match="a score beside 'smile' that counts"):
        run({"pure": PURE}, counted=["smile"])
    with pytest.raises(ValueError, match="leaves faces on both sides, given 0"):
        run({"pure": PURE}, FACES[:1])
    with pytest.raises(ValueError, match="its threshold is not measured"):
        run({"pure": PURE}, identity=Angle(None))
    with pytest.raises(UnknownNameError, match="unknown measure 'MDS'"):
        run({"pure": PURE}).intervals("MDS")
    with pytest.raises(UnknownNameError, match="unknown method 'sgf'"):
        run({"pure": PURE}).difference("pure", "sgf")


def test_on_real_faces():
    generator = load_generator("digiface-dcgan-64")
    scorers = load_scorers(["smile", "glasses", "brightness"], "digiface")
    identity = load_identity(framing="digiface")
    people = embed(generator, identity, generator.sample(64, seed=2))
    identity.threshold = false_acceptance_threshold(people)
    before = score_once(generator, scorers, generator.sample(64, seed=3))
    lines = facenb.load_editors("interfacegan", generator.name)
    random = {
        "glasses": LinearEditor(
            "random", torch.randn(100, generator=torch.Generator().manual_seed(0))
        )
    }
    found = compare(
        generator,
        scorers,
        {"InterFaceGAN": lines, "random": random},
        generator.sample(6, seed=1),
        ["glasses", "smile"],
        {"InterFaceGAN": [2.0, 6.0], "random": [6.0]},
        thresholds=torch.tensor([0.0, 0.0, float(before[:, 2].median())]),
        deviations=before.std(0),
        identity=identity,
        resamples=20,
    )
    curve = found.curve("InterFaceGAN", "glasses")
    assert curve.loc[6.0, "target's change"] > curve.loc[2.0, "target's change"] > 0
    mds = found.intervals("mds")["mds"]
    assert 0 <= mds["random", "glasses"] < mds["InterFaceGAN", "glasses"] <= 1
    assert found.table().shape == (2, len(MEASURES) + 2)
