"""The live editor on a generator of several sizes: previews, full images, and what it is given."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import DIM, LAYERS, NAMES, Bend, StyledGenerator, TinySuite, drive, pixels, shown

from facenb.editors import Editors, LayerEditor, LinearEditor
from facenb.errors import FacenbError, SpaceError
from facenb.latents import Latents
from facenb.scorers import Attribute
from facenb.widgets.explorer import EditState, Explorer, screen
from facenb.widgets.explorer import explorer as explorer_module
from facenb.widgets.explorer.charts import ALL, MOST, ScoreChart
from facenb.widgets.explorer.engine import Scores
from facenb.widgets.explorer.sliders import SliderPanel, step_for
from facenb.widgets.latest import Latest, Stopped, Worker, until, yielding_to


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def directions() -> Editors:
    vectors = torch.randn(3, DIM, generator=torch.Generator().manual_seed(2))
    return Editors.from_vectors(NAMES, vectors, "w")


@pytest.fixture
def make(directions, tmp_path):
    def build(generator=None, **options) -> Explorer:
        editors = options.pop("editors", directions)
        options = {"size": 16, "folder": tmp_path / "edits"} | options
        return Explorer(generator or StyledGenerator(), editors, **options)

    return build


class ScoredSmall(StyledGenerator):
    """Its scores need no image of full size."""

    scoring_size = 64


def record(explorer: Explorer) -> list[tuple[EditState, int, int]]:
    """Grows by (state asked for, its number, size) whenever an image is put on the page."""
    put, seen = explorer._screen._put, []

    def and_note(asked, frame):
        put(asked, frame)
        seen.append((asked.state, asked.number, frame.size))

    explorer._screen._put = and_note
    return seen


def within(seconds: float, condition) -> None:
    """Wait until `condition()`, and fail when that takes longer than any machine needs."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


# --- previews and full images


def test_a_preview_at_once_and_the_full_image_at_rest(make):
    explorer = make()
    seen, slider = record(explorer), explorer._view.sliders.slider("smile")

    def move() -> None:
        slider.value = 1.0
        within(30, lambda: len(seen) == 2)

    drive(move)
    assert [size for *_, size in seen] == [256, 512]
    assert shown(explorer._view.after).shape == (512, 512, 3)
    fresh = make()
    fresh.set(smile=1.0)
    assert (shown(explorer._view.after) == shown(fresh._view.after)).all()


def test_nothing_but_previews_while_a_slider_moves(make, monkeypatch):
    monkeypatch.setattr(screen, "REST", 3600)
    generator = StyledGenerator()
    explorer = make(generator)
    explorer.render()
    slider = explorer._view.sliders.slider("smile")
    generator.drawn.clear()

    def drag() -> None:
        for position in torch.linspace(-3, 3, 60).tolist():
            slider.value = position
            explorer._screen.preview()

    drive(drag)
    assert set(generator.drawn) == {256} and len(generator.drawn) >= 59
    assert shown(explorer._view.after).shape[0] == 256
    explorer.render()  # whoever asks for the image need not wait for the rest
    assert generator.drawn.count(512) == 1
    assert shown(explorer._view.after).shape[0] == 512


def test_a_full_image_that_is_overtaken_is_given_up(make, monkeypatch):
    monkeypatch.setattr(screen, "REST", 0)
    generator = StyledGenerator()
    explorer = make(generator)
    explorer.render()
    generator.begun.clear()
    seen, slider = record(explorer), explorer._view.sliders.slider("smile")

    def move_on() -> None:
        generator.gate.clear()  # a full image would now take for ever
        slider.value = 1.0
        assert generator.begun.wait(30)
        slider.value = 2.0
        explorer._screen.preview()
        assert [(dict(state.strengths), size) for state, _, size in seen] == [
            ({"smile": 1.0}, 256),
            ({"smile": 2.0}, 256),
        ]
        generator.gate.set()
        explorer.render()

    drive(move_on)
    assert [size for *_, size in seen] == [256, 256, 512] and not generator.overdue


def test_no_preview_after_a_later_full_image(make, monkeypatch):
    monkeypatch.setattr(screen, "REST", 0.001)
    explorer = make()
    seen, choose = record(explorer), random.Random(5)
    slider = explorer._view.sliders.slider("age")

    def fidget() -> None:
        for _ in range(150):
            slider.value = choose.uniform(-3, 3)
            time.sleep(choose.choice([0, 0, 0.002, 0.01]))
        explorer.render()

    drive(fidget)
    order = [(number, size) for _, number, size in seen]
    assert order == sorted(order) and order[-1][1] == 512
    assert seen[-1][0] == explorer.state


def test_the_unedited_face_stays_sharp(make, monkeypatch):
    monkeypatch.setattr(screen, "REST", 3600)
    explorer = make(seed=4)
    explorer.render()
    before = explorer._view.before.value

    def move() -> None:
        explorer._view.sliders.slider("smile").value = 1.0
        explorer._screen.preview()
        assert explorer._view.before.value == before
        assert shown(explorer._view.before).shape[0] == 512
        explorer.go_to(5)
        explorer._screen.preview()
        assert shown(explorer._view.before).shape[0] == 256

    drive(move)


def test_undo_shows_the_full_image_at_once(make, monkeypatch):
    monkeypatch.setattr(screen, "REST", 3600)
    generator = StyledGenerator()
    explorer = make(generator)
    explorer.render()
    start = explorer._view.after.value

    def there_and_back() -> None:
        explorer._view.sliders.slider("smile").value = 1.0
        explorer._screen.preview()
        drawn = len(generator.drawn)
        explorer.undo()
        explorer._screen.preview()
        assert explorer._view.after.value == start and len(generator.drawn) == drawn

    drive(there_and_back)


def test_the_preview_does_not_wait_for_scores(make, monkeypatch):
    monkeypatch.setattr(screen, "REST", 3600)
    suite, scoring, go_on = TinySuite(), threading.Event(), threading.Event()
    go_on.set()

    def slow(*_) -> None:
        scoring.set()
        assert go_on.wait(30)

    suite.register_forward_pre_hook(slow)
    explorer = make(scorers=suite, reference_scores=torch.randn(9, 2))
    explorer.render()
    seen, slider = record(explorer), explorer._view.sliders.slider("smile")
    panel = explorer._view.panel.value

    def drag() -> None:
        go_on.clear()
        scoring.clear()
        slider.value = 1.0
        assert scoring.wait(30)
        for position in (1.5, 2.0, 2.5):
            slider.value = position
            explorer._screen.preview()
        assert len(seen) == 4 and explorer._view.panel.value == panel
        go_on.set()
        explorer.render()

    drive(drag)
    assert explorer._view.panel.value != panel


def test_scores_that_have_begun_let_a_preview_go_first(make, monkeypatch):
    monkeypatch.setattr(screen, "REST", 3600)
    generator, suite, scored = StyledGenerator(), TinySuite(), []
    explorer = make(generator, scorers=suite, reference_scores=torch.randn(9, 2))
    explorer.render()

    def between(*_) -> None:  # the chart has begun when the hand moves on
        begun.set()
        assert moved_on.wait(30)

    begun, moved_on = threading.Event(), threading.Event()
    suite.register_forward_pre_hook(between)
    suite.register_forward_hook(lambda *_: scored.append(generator.preview_gate.is_set()))
    slider = explorer._view.sliders.slider("smile")

    def move() -> None:
        slider.value = 1.0
        explorer._screen.preview()
        assert begun.wait(30)
        generator.preview_begun.clear()
        generator.preview_gate.clear()
        slider.value = 2.0
        assert generator.preview_begun.wait(30)
        moved_on.set()
        time.sleep(0.2)
        assert not scored
        generator.preview_gate.set()
        explorer.render()

    drive(move)
    assert scored and all(scored)


@pytest.mark.parametrize("young, charts", [(3600, 1), (0, 2)])
def test_scores_of_an_older_state_are_given_up_unless_the_chart_is_old(
    make, monkeypatch, young, charts
):
    monkeypatch.setattr(screen, "REST", 3600)
    monkeypatch.setattr(screen, "_YOUNG", young)
    suite, begun, go_on, scored = TinySuite(), threading.Event(), threading.Event(), []
    explorer = make(scorers=suite, reference_scores=torch.randn(9, 2))
    explorer.render()
    slider = explorer._view.sliders.slider("smile")

    def hold_on(*_) -> None:
        begun.set()
        assert go_on.wait(30)

    suite.register_forward_pre_hook(hold_on)
    suite.register_forward_hook(lambda *_: scored.append(1))

    def move() -> None:
        slider.value = 1.0
        explorer._screen.preview()
        assert begun.wait(30)
        slider.value = 2.0
        explorer._screen.preview()
        go_on.set()
        explorer._screen._panels.wait()

    drive(move)
    assert len(scored) == charts


def test_a_full_image_lets_the_chart_come_first(make, monkeypatch):
    monkeypatch.setattr(screen, "REST", 0)
    monkeypatch.setattr(screen, "_CHART_FIRST", 30)
    generator, suite, go_on = ScoredSmall(), TinySuite(), threading.Event()
    explorer = make(generator, scorers=suite, reference_scores=torch.randn(9, 2))
    explorer.render()

    def hold_on(*_) -> None:
        assert go_on.wait(30)

    suite.register_forward_pre_hook(hold_on)
    generator.begun.clear()

    def move() -> None:
        explorer._view.sliders.slider("smile").value = 1.0
        explorer._screen.preview()
        assert not generator.begun.wait(0.2)
        go_on.set()
        assert generator.begun.wait(30)
        explorer.render()

    drive(move)


def test_scores_are_of_the_scoring_size(make, directions):
    explorer = make(ScoredSmall(), scorers=TinySuite(), reference_scores=torch.randn(9, 2))
    explorer.set(smile=2.0)
    scores = explorer._engine.scores(explorer._screen.frame())
    images = StyledGenerator().synthesize(explorer.latents, 64)
    torch.testing.assert_close(scores.after, TinySuite()(images)[0])


def test_what_stops_a_computation_is_of_its_thread_alone():
    with pytest.raises(Stopped), until(lambda: True):
        torch.zeros(2) + 1
    with until(lambda: True):
        other = threading.Thread(target=lambda: found.append(torch.ones(2).sum().item()))
        found: list[float] = []
        other.start()
        other.join()
    assert found == [2.0]
    with until(lambda: False):
        assert (torch.arange(3) * 2).tolist() == [0, 2, 4]


def test_scores_hold_still_while_a_preview_is_drawn():
    frames, go_on, computed = Worker("frames"), threading.Event(), threading.Event()
    frames.hire()
    previews = Latest(lambda _: go_on.wait(30), frames, print)
    previews.put(0)

    def compute() -> None:
        with yielding_to(previews, 30):
            torch.ones(2).sum()
            computed.set()

    scores = threading.Thread(target=compute)
    scores.start()
    assert not computed.wait(0.2)
    go_on.set()
    scores.join(30)
    assert computed.is_set()
    go_on.clear()
    previews.put(1)
    with yielding_to(previews, 0.01):  # not for ever
        assert torch.ones(2).sum() == 2 and previews.running
    go_on.set()
    previews.wait()
    frames.release()


def test_files_have_all_pixels(make):
    explorer = make()
    explorer.set(smile=2.0)
    assert explorer.image.size == (512, 512) == explorer.original.size
    saved = pixels(Image.open(explorer.save_png()))
    assert saved.shape == (512, 512 + 8 + 512, 3)
    assert (saved[:, -512:] == pixels(explorer.image)).all()
    with Image.open(explorer.save_gif()) as gif:
        assert gif.size == (16, 16)  # an animation is as large as the image on the page


def test_the_picture_before_the_widget_is_small(make, monkeypatch):
    explorer, displayed = make(), []
    monkeypatch.setattr(explorer_module, "display", lambda shown, **_: displayed.append(shown))
    explorer._ipython_display_()
    data, _ = displayed[0]._repr_mimebundle_()
    assert "image/png" in data
    assert shown(type("", (), {"value": displayed[0].data})).shape == (16, 40, 3)


# --- codes of one's own


@pytest.fixture
def mine() -> Latents:
    return Latents(torch.randn(3, DIM, generator=torch.Generator().manual_seed(7)), "w")


def test_codes_of_ones_own_in_place_of_seeds(make, mine, directions):
    explorer = make(latents=mine, index=1)
    assert explorer.state == EditState(None, 1)
    torch.testing.assert_close(explorer.latents.values, mine.values[1:2])
    explorer.set(smile=2.0)
    expected = mine.values[2:] + 2 * directions["smile"].direction
    field = explorer._view.face
    assert (field.description, field.min, field.max, field.value) == ("Code", 0, 2, 1)
    field.value = 2
    torch.testing.assert_close(explorer.latents.values, expected)
    explorer.undo()
    assert field.value == 1
    for _ in range(5):
        index = explorer.state.index
        explorer.randomise()
        assert explorer.state.index != index and explorer.state.strengths == {"smile": 2.0}
    assert explorer.save_png().name.startswith(f"code{explorer.state.index}_smile")
    with pytest.raises(ValueError, match="index: expected a whole number from 0 to 2, given 3"):
        explorer.go_to(index=3)
    with pytest.raises(ValueError, match="seed: the faces here are your own latents"):
        explorer.go_to(12)


def test_a_single_code_has_nothing_to_choose(make, mine):
    explorer = make(latents=mine[0])
    view = explorer._view
    assert view.face.disabled and view.randomise.disabled
    explorer.randomise()
    assert explorer.state == EditState(None, 0)


def test_an_edit_of_ones_own_code_is_saved_with_it(make, mine, tmp_path):
    explorer = make(latents=mine, index=2)
    explorer.set(age=1.5)
    path = explorer.save_edit()
    turned = make(latents=mine[[2, 0]])
    turned.load_edit(path)  # the code is found where it is now
    assert turned.state == EditState(None, 0, {"age": 1.5})
    torch.testing.assert_close(turned.latents.values, explorer.latents.values)
    with pytest.raises(FacenbError, match="not among your 1 latents"):
        make(latents=mine[0]).load_edit(path)
    with pytest.raises(
        FacenbError, match=r"made on latents of one's own, and the faces here are seeds"
    ):
        make().load_edit(path)
    seeded = make(seed=3).save_edit()
    with pytest.raises(FacenbError, match="made on a seed, and the faces here are latents"):
        explorer.load_edit(seeded)


@pytest.mark.parametrize(
    "kind",
    [np.asarray, torch.as_tensor, lambda v: v.numpy().astype(np.float64), lambda v: v.half()],
    ids=["NumPy", "tensor", "float64", "half"],
)
def test_arrays_are_of_the_editors_space(make, mine, kind):
    explorer = make(latents=kind(mine.values))
    assert explorer.latents.space == "w" and explorer.latents.values.dtype == torch.float32
    torch.testing.assert_close(explorer.latents.values, mine.values[:1], rtol=0, atol=1e-3)
    alone = make(latents=kind(mine.values)[0])
    assert alone._engine.own_codes == 1


def test_codes_are_mapped_to_the_editors(make, directions, mine):
    in_layers = {"low": LinearEditor("low", directions.vectors[0], "w+", (0, 2))}
    for given in (mine, Latents(mine.values / 2, "z")):
        explorer = make(editors=in_layers, latents=given)
        explorer.set(low=1.0)
        shift = explorer.latents.values[0] - mine.values[0]
        torch.testing.assert_close(shift[:2], directions.vectors[:1].expand(2, -1))
        assert not shift[2:].any()


def test_editors_of_w_act_on_codes_of_w_plus(make, directions):
    codes = torch.randn(1, LAYERS, DIM, generator=torch.Generator().manual_seed(3))
    editors = {**directions, "bend": Bend(space="w")}
    explorer = make(editors=editors, latents=codes)
    assert explorer._engine.space == "w+" and "smile" in explorer._engine.holdable
    explorer.set(smile=2.0)
    shift = explorer.latents.values - codes
    torch.testing.assert_close(shift, (2 * directions.vectors[0]).expand_as(codes))
    explorer.reset()
    explorer.condition_on("age")
    explorer.set(bend=1.5)
    each = [Bend(space="w").edit(Latents(layer, "w"), 1.5).values for layer in codes[0].split(1)]
    free = torch.cat(each) - codes[0]
    age = directions.vectors[1]
    expected = free - (free @ age)[:, None] * age
    torch.testing.assert_close(explorer.latents.values[0] - codes[0], expected)


def test_an_edit_of_w_can_be_shown_among_editors_of_w_plus(make, directions, recwarn):
    explorer = make(seed=3)
    explorer.set(smile=2.0)
    path = explorer.save_edit()
    extra = {"low": LinearEditor("low", directions.vectors[0], "w+", (0, 2))}
    other = make(editors={**directions, **extra})
    other.load_edit(path)
    assert other.state == explorer.state and not len(recwarn)
    assert (pixels(other.image) == pixels(explorer.image)).all()
    with pytest.raises(SpaceError, match=r"'w\+'.*'w'"):
        explorer.load_edit(other.save_edit())


BAD_LATENTS = {
    "another dimension": (np.zeros((2, 5), np.float32), ValueError, r"expected \(N, 6\).*\(2, 5\)"),
    "another number of layers": (torch.zeros(1, 3, DIM), ValueError, r"\(N, 4, 6\).*\(1, 3, 6\)"),
    "whole numbers": (np.zeros((2, DIM), int), TypeError, "given int64"),
    "a list": ([[0.0] * DIM], TypeError, "given list"),
    "NaN": (torch.full((1, DIM), torch.nan), ValueError, "NaN"),
    "none": (torch.zeros(0, DIM), ValueError, "empty batch"),
}


@pytest.mark.parametrize("latents, error, message", BAD_LATENTS.values(), ids=BAD_LATENTS)
def test_bad_latents_are_refused(make, latents, error, message):
    with pytest.raises(error, match=message):
        make(latents=latents)


def test_latents_that_cannot_be_taken_to_the_editors_are_refused(make, directions):
    of_z = Editors.from_vectors(NAMES, directions.vectors, "z")
    with pytest.raises(SpaceError, match=r"latents are in space 'w'.*editors work in 'z'"):
        make(editors=of_z, latents=Latents(torch.zeros(1, DIM), "w"))
    of_layers = {"low": LinearEditor("low", directions.vectors[0], "w+")}
    with pytest.raises(SpaceError, match=r"could be of 'z' or of 'w'"):
        make(editors=of_layers, latents=torch.zeros(1, DIM))


# --- editors


def test_editors_of_another_generator_are_refused_at_once(make, directions):
    with pytest.raises(ValueError, match=r"'a' is a direction of 5 dimensions.*styled has 6"):
        make(editors={"a": LinearEditor("a", torch.ones(5), "w")})
    with pytest.raises(ValueError, match=r"'a' edits layers 2 to 5, and styled has 4"):
        make(editors={"a": LinearEditor("a", torch.ones(DIM), "w+", (2, 5))})
    inner = LayerEditor(LinearEditor("a", torch.ones(5), "w"), (0, 2))
    with pytest.raises(ValueError, match=r"'a' cannot edit a latent \(1, 4, 6\) of styled"):
        make(editors={"a": inner})
    foreign = directions.with_provenance(generator="other")
    with pytest.raises(FacenbError, match="made for other, the generator here is styled"):
        make(editors=foreign)
    own = directions.with_provenance(generator="styled", fingerprint="f2")
    assert make(editors=own)._engine.space == "w"


def test_editors_as_a_set_a_mapping_or_several(make, directions):
    state = []
    for editors in (directions, dict(directions), list(directions.values())):
        explorer = make(editors=editors)
        explorer.set(age=1.0)
        state.append(explorer.latents.values)
    assert torch.equal(state[0], state[1]) and torch.equal(state[0], state[2])
    with pytest.raises(ValueError, match="different names"):
        make(editors=[directions["age"], directions["age"]])
    for wrong in (5, "smile", torch.zeros(3), {"smile": 1.0}, {1: directions["age"]}):
        with pytest.raises(TypeError, match="expected editors by name"):
            make(editors=wrong)


def test_scorers_of_another_framing_are_refused_at_once(make):
    suite = TinySuite()
    suite.framing = "digiface"
    with pytest.raises(ValueError, match="frames its images as 'ffhq', the scorers expect 'digi"):
        make(scorers=suite)


# --- directions from files


def upload(name: str, content: bytes) -> tuple[dict]:
    facts = {"name": name, "type": "", "size": len(content), "last_modified": datetime.now(UTC)}
    return (facts | {"content": memoryview(content)},)


def test_directions_from_a_file(make, directions, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "smile.npy", rng.normal(size=(1, DIM)))
    explorer = make(directions=tmp_path / "smile.npy")
    assert list(explorer._engine.editors) == [*NAMES, "smile 2"]  # no editor gives way to another
    explorer.set(smile=1.0, **{"smile 2": 2.0})
    rows = rng.normal(size=(LAYERS, DIM))
    np.save(tmp_path / "hat.npy", rows)
    code = explorer.latents.values
    assert explorer.load_directions(tmp_path / "hat.npy") == ["hat"]
    assert explorer._engine.space == "w+"  # the edit stays as it was, in every layer
    torch.testing.assert_close(explorer.latents.values, code[:, None].expand(-1, LAYERS, -1))
    explorer.set(hat=1.0)
    moved = (explorer.latents.values - code[:, None])[0]
    expected = torch.from_numpy(rows).float()
    expected /= expected.norm(dim=1).square().mean().sqrt()
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-5)


def test_directions_from_the_page(make, tmp_path):
    explorer = make()
    view = explorer._view
    np.save(tmp_path / "x.npy", np.eye(DIM, dtype=np.float32)[:2])
    view.load_directions.value = upload("hat.npy", (tmp_path / "x.npy").read_bytes())
    assert "Loaded hat 1, hat 2 from hat.npy" in view.status.value
    assert view.load_directions.value == ()
    view.sliders.slider("hat 2").value = 1.0
    assert explorer.state.strengths == {"hat 2": 1.0}
    state, names = explorer.state, list(explorer._engine.editors)
    np.save(tmp_path / "x.npy", np.ones((1, 512), np.float32))
    view.load_directions.value = upload("age.npy", (tmp_path / "x.npy").read_bytes())
    assert "age.npy: &#x27;age&#x27; has 512 dimensions" in view.status.value
    view.load_directions.value = upload("../x.pt", b"\x80\x02cos\nsystem\n.")
    assert "x.pt" in view.status.value and 'role="alert"' in view.status.value
    assert explorer.state == state and list(explorer._engine.editors) == names


# --- groups of sliders


GROUPS = {"pose": ["yaw", "pitch"], "hair": [f"hair_{i}" for i in range(11)], "other": ["x"]}
EVERY = [name for names in GROUPS.values() for name in names]


def panel() -> SliderPanel:
    yaw = Attribute("yaw", "degrees", "left", "right", "semantic", "n", "", "pose", "the turn")
    return SliderPanel(GROUPS, EVERY, {"yaw": yaw, "pitch": yaw}, 3.0)


def on_screen(sliders: SliderPanel) -> list[str]:
    """The names on screen, groups in capitals."""
    found = []
    for part in sliders._list.children:
        if rows := getattr(part, "children", ()):
            found += [row.description for row in rows if getattr(row, "description", "")]
        else:
            found.append(part.description.upper())
    return found


def test_groups_open_and_close_and_sliders_are_made_when_seen():
    sliders = panel()
    assert on_screen(sliders) == ["POSE", "Yaw the turn", "Pitch", "HAIR", "OTHER", "X"]
    made = len(sliders._sliders)
    assert made == 3
    sliders._sections["hair"].button.click()
    assert len(sliders._sliders) == made + 11 and "Hair 7" in on_screen(sliders)
    sliders._sections["hair"].button.click()
    assert on_screen(sliders) == ["POSE", "Yaw the turn", "Pitch", "HAIR", "OTHER", "X"]


def test_the_search_looks_into_closed_groups():
    sliders = panel()
    sliders.search.value = "hair 1"
    assert on_screen(sliders) == ["HAIR", "Hair 1", "Hair 10"]
    sliders.search.value = "RIGHT"  # what an end of the slider is called
    assert on_screen(sliders) == ["POSE", "Yaw the turn", "Pitch"]
    sliders.search.value = "nobody"
    assert on_screen(sliders) == [] and "nothing of that name" in sliders._head.value
    sliders.search.value = " "
    assert on_screen(sliders) == ["POSE", "Yaw the turn", "Pitch", "HAIR", "OTHER", "X"]


def test_what_is_moved_or_held_in_a_closed_group_can_be_seen():
    sliders = panel()
    state = EditState(strengths={"hair_3": 1.0, "yaw": -1.0}, held=frozenset({"hair_4"}))
    sliders.show_state(state)
    assert sliders._sections["hair"].button.description == "Hair  ·  1 moved  ·  1 held"
    assert "Hair 4 fixed" in sliders._head.value
    sliders._sections["hair"].button.click()
    assert sliders.slider("hair_3").value == 1.0 and sliders.tick("hair_4").value
    sliders.show_state(EditState())
    assert sliders.slider("hair_3").value == 0.0 and not sliders.tick("hair_4").value
    assert sliders._sections["hair"].button.description == "Hair"


def test_few_sliders_need_no_groups():
    sliders = SliderPanel({"pose": ["yaw"], "hair": ["fringe"]}, ["yaw"], {}, 3.0)
    assert on_screen(sliders) == ["Yaw", "Fringe"]
    assert sliders.search.layout.display == "none"


@pytest.mark.parametrize("reach, step", [(3, 0.1), (5, 0.1), (6, 0.2), (2, 0.05), (0.7, 0.02)])
def test_steps_are_plain_and_come_by_zero(reach, step):
    assert step_for(reach) == pytest.approx(step)
    assert abs(round(reach / step_for(reach)) - reach / step_for(reach)) < 1e-9


def test_zero_by_the_browsers_arithmetic_is_zero(make):
    explorer = make()
    slider = explorer._view.sliders.slider("smile")
    slider.value = 8.881784197001252e-16
    assert explorer.state == EditState()
    slider.value = 1.0
    slider.value = -4.4e-16
    assert explorer.state == EditState() and slider.value == 0.0


# --- the chart


def many(count: int) -> list[Attribute]:
    return [
        Attribute(f"s{i}", "u", f"low{i}", f"high{i}", "semantic", "n", "", "ab"[i % 2])
        for i in range(count)
    ]


def scores(*changes: float) -> Scores:
    after = torch.tensor(changes)
    return Scores(torch.zeros_like(after), after, torch.zeros_like(after), torch.ones_like(after))


def rows(html: str) -> list[str]:
    return [part.split("<")[0] for part in html.split('"fx-name">')[1:]]


def test_the_chart_shows_what_changed_most():
    chart = ScoreChart(many(30))
    assert chart.choices == [MOST, ALL, "A", "B"]
    changes = [0.0] * 30
    for i in range(16, 30):
        changes[i] = (-1) ** i * i / 10
    found = rows(chart.html(scores(*changes), MOST, moving=False))
    assert found == [f"S{i}" for i in range(16, 30)]
    changes[:14] = [9.0] * 14
    assert rows(chart.html(scores(*changes), MOST, moving=True)) == found  # none jumps in a drag
    assert rows(chart.html(scores(*changes), MOST, moving=False)) == [f"S{i}" for i in range(14)]
    assert len(rows(chart.html(scores(*changes), ALL, moving=False))) == 30
    assert rows(chart.html(scores(*changes), "B", moving=False)) == [
        f"S{i}" for i in range(1, 30, 2)
    ]


def test_small_differences_do_not_change_the_rows():
    chart = ScoreChart(many(30))
    changes = [1.0] * 14 + [0.9] * 16
    first = rows(chart.html(scores(*changes), MOST, moving=False))
    assert rows(chart.html(scores(*changes[::-1]), MOST, moving=False)) == first


def test_few_scores_are_all_shown():
    chart = ScoreChart(many(13))
    assert chart.choices == [ALL]
    html = chart.html(scores(*[0.0] * 12, 1.24), ALL, moving=False)
    assert len(rows(html)) == 13 and "fx-group" not in html
    assert '"fx-change">+1.2<' in html and '"fx-towards">high12<' in html


# --- seeds


def test_seeds_up_to_the_last_have_faces_of_their_own(make):
    faces = [make(seed=seed).latents.values for seed in (0, 5, 5 + 2**32, 2**62, 2**63 - 1)]
    for i, face in enumerate(faces):
        assert not any(torch.equal(face, other) for other in faces[:i])
    with pytest.raises(ValueError, match=r"from 0 to 2\*\*63 - 1, given 9223372036854775808"):
        make(seed=2**63)
    assert "2**63 - 1" in make()._view.face.tooltip


# --- the event loop


def test_moves_on_a_loop_end_where_the_hand_ends(make):
    explorer = make(scorers=TinySuite(), reference_scores=torch.randn(9, 2))

    async def moves() -> None:
        slider = explorer._view.sliders.slider("glasses")
        for position in (0.5, 1.0, 1.5, 2.0):
            slider.value = position
            await asyncio.sleep(0.01)
        while not explorer._screen._has_full():
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(moves(), 60))
    fresh = make()
    fresh.set(glasses=2.0)
    assert (shown(explorer._view.after) == shown(fresh._view.after)).all()
