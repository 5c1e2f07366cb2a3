"""The live editor, on a tiny generator: states, holding, coalescing, files. No browser."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import DIM, NAMES, Bend, TinyGenerator, TinySuite, drive, pixels, shown

from facenb.editors import Editors
from facenb.errors import FacenbError, SpaceError, UnknownNameError
from facenb.widgets.explorer import EditState, Explorer
from facenb.widgets.explorer import explorer as explorer_module
from facenb.widgets.explorer.state import History, parse_face
from facenb.widgets.latest import SCORES


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def directions() -> Editors:
    vectors = torch.randn(3, DIM, generator=torch.Generator().manual_seed(2))
    return Editors.from_vectors(NAMES, vectors)


@pytest.fixture
def make(directions, tmp_path):
    def build(generator=None, **options) -> Explorer:
        editors = options.pop("editors", directions)
        options = {"size": 16, "folder": tmp_path / "edits"} | options
        return Explorer(generator or TinyGenerator(), editors, **options)

    return build


def in_worker(worker, function):
    """What `function` returns in the thread of a worker that is hired."""
    found, done = [], threading.Event()
    worker.hire()
    worker.submit(lambda: (found.append(function()), done.set()))
    assert done.wait(30)
    worker.release()
    return found[0]


# --- states


def test_set_reset_undo_redo(make):
    explorer = make(seed=5, index=2)
    start = pixels(explorer.image)
    assert (start == pixels(explorer.original)).all()
    explorer.set(smile=2.0, age=-1.0)
    edited = pixels(explorer.image)
    assert explorer.state == EditState(5, 2, {"smile": 2.0, "age": -1.0})
    assert not (edited == start).all()
    explorer.condition_on("glasses")
    explorer.reset()
    assert explorer.state == EditState(5, 2)
    assert (pixels(explorer.image) == start).all()
    explorer.undo()
    explorer.undo()
    assert (pixels(explorer.image) == edited).all() and not explorer.state.held
    explorer.redo()
    assert explorer.state.held == {"glasses"}
    explorer.undo()
    explorer.undo()
    explorer.undo()  # at the beginning nothing happens
    assert explorer.state == EditState(5, 2)


def test_several_edits_are_applied_in_sequence(make, directions):
    explorer = make(seed=3)
    explorer.set(age=-0.5, smile=2.0, glasses=1.0)
    z = TinyGenerator().sample(1, 3)
    for name, strength in (("smile", 2.0), ("age", -0.5), ("glasses", 1.0)):
        z = directions[name].edit(z, strength)
    torch.testing.assert_close(explorer.latents.values, z.values)
    explorer.set(age=0.0)
    assert list(explorer.state.strengths) == ["smile", "glasses"]


def test_a_drag_is_one_step_of_undo():
    now = [0.0]
    history = History(EditState(), pause=0.5, clock=lambda: now[0])
    for i in range(1, 11):
        now[0] += 0.1
        history.push(EditState(strengths={"smile": i / 10}), group="smile")
    now[0] += 2.0
    history.push(EditState(strengths={"smile": 3.0}), group="smile")
    history.push(EditState(strengths={"smile": 3.0, "age": 1.0}), group="age")
    seen = []
    while history.can_undo:
        history.undo()
        seen.append(dict(history.state.strengths))
    assert seen == [{"smile": 3.0}, {"smile": 1.0}, {}]


def test_another_face_keeps_the_edit(make):
    explorer = make(seed=3)
    explorer.set(smile=1.0)
    before = pixels(explorer.original)
    explorer.go_to(4, 7)
    assert explorer.state == EditState(4, 7, {"smile": 1.0})
    assert not (pixels(explorer.original) == before).all()
    explorer.randomise()
    assert explorer.state.strengths == {"smile": 1.0}
    assert (make(seed=4, index=7).latents.values == TinyGenerator().sample(8, 4)[7].values).all()


@pytest.mark.parametrize("text, face", [("7", (7, 0)), (" 7:3 ", (7, 3)), ("0", (0, 0))])
def test_seed_text(text, face):
    assert parse_face(text) == face


@pytest.mark.parametrize("text", ["", "seven", "-1", "1.5", "7:", ":7", "7:x", "²", str(2**63)])
def test_bad_seed_text_is_a_message_and_changes_nothing(make, text):
    explorer = make(seed=3)
    explorer.set(smile=1.0)
    view, state = explorer._view, explorer.state
    view.face.value = text
    assert "expected a whole number" in view.status.value
    assert explorer.state == state and view.face.value == "3"
    view.face.value = "12:1"
    assert explorer.state == replace(state, seed=12, index=1)
    assert "expected" not in view.status.value


# --- holding


def test_holding_keeps_the_distance_exactly(make, directions):
    explorer = make(seed=1)
    glasses, start = directions["glasses"], explorer.latents
    explorer.condition_on("glasses")
    explorer.set(smile=2.5, age=-1.5)
    torch.testing.assert_close(
        glasses.distance(explorer.latents), glasses.distance(start), rtol=0, atol=1e-6
    )
    # n₁ − (n₁·n₂) n₂, normalised: InterFaceGAN's conditional direction
    shift = (explorer.latents - start).values[0]
    expected = torch.zeros(DIM)
    for name, strength in (("smile", 2.5), ("age", -1.5)):
        n1, n2 = directions[name].direction, glasses.direction
        projected = n1 - (n1 @ n2) * n2
        expected += strength * projected / projected.norm()
    torch.testing.assert_close(shift, expected, rtol=0, atol=1e-5)


def test_a_held_attribute_still_moves_by_its_own_slider(make, directions):
    explorer = make()
    explorer.condition_on("glasses", "age")
    explorer.set(glasses=2.0, smile=1.0)
    start = TinyGenerator().sample(1)
    age = directions["age"]
    torch.testing.assert_close(age.distance(explorer.latents), age.distance(start))
    assert directions["glasses"].distance(explorer.latents) > directions["glasses"].distance(start)


def test_a_non_linear_editor_is_conditioned_but_not_held(make, directions):
    explorer = make(editors={**directions, "bend": Bend()})
    explorer.condition_on("smile", "glasses")
    explorer.set(bend=2.0)
    start = TinyGenerator().sample(1)
    moved = directions.vectors @ (explorer.latents - start).values[0]
    assert moved[[0, 2]].abs().max() < 1e-6 < moved[1].abs()
    with pytest.raises(KeyError):
        explorer._view.sliders.tick("bend")
    with pytest.raises(ValueError, match="only an editor with a direction"):
        explorer.condition_on("bend")


def test_holding_what_leaves_nothing_is_a_message(make):
    same = torch.eye(DIM)[:1].repeat(2, 1)
    explorer = make(editors=Editors.from_vectors(("one", "other"), same))
    explorer.set(one=1.0)
    explorer._view.sliders.tick("other").value = True
    assert "nothing of it is left" in explorer._view.status.value
    assert not explorer.state.held and not explorer._view.sliders.tick("other").value


def test_ticks_hold(make):
    explorer = make()
    explorer._view.sliders.tick("age").value = True
    explorer._view.sliders.tick("smile").value = True
    assert explorer.state.held == {"age", "smile"}
    explorer.reset()
    assert not any(explorer._view.sliders.tick(name).value for name in NAMES)


# --- the newest position wins


def test_a_hundred_positions_make_two_frames_at_most(make):
    generator = TinyGenerator()
    explorer = make(generator, scorers=TinySuite(), reference_scores=torch.randn(9, 2))
    explorer.render()
    slider = explorer._view.sliders.slider("smile")
    drawn = generator.drawn

    def drag() -> None:
        generator.gate.clear()  # the first frame takes as long as the whole drag
        for position in torch.linspace(-3, 3, 100).tolist():
            slider.value = position
        generator.gate.set()
        explorer.render()

    drive(drag)
    assert 1 <= generator.drawn - drawn <= 2  # the last, and the first if the worker was quick
    assert explorer.state.strengths == {"smile": 3.0}
    fresh = make()
    fresh.set(smile=3.0)
    assert (pixels(explorer.image) == pixels(fresh.image)).all()
    assert (shown(explorer._view.after) == shown(fresh._view.after)).all()
    explorer.undo()
    assert explorer.state == EditState()


def test_an_event_does_not_wait_for_the_picture(make):
    generator = TinyGenerator()
    explorer = make(generator)
    before = explorer._view.after.value

    def move() -> None:
        generator.gate.clear()
        explorer._view.sliders.slider("age").value = 1.0  # would hang here if it drew
        assert explorer.state.strengths == {"age": 1.0}
        assert explorer._view.after.value == before
        generator.gate.set()
        explorer.render()

    drive(move)
    assert explorer._view.after.value != before


def test_without_an_event_loop_the_frame_is_there_at_once(make):
    explorer = make(scorers=TinySuite())
    before, panel = explorer._view.after.value, explorer._view.panel.value
    explorer._view.sliders.slider("age").value = 2.0
    assert explorer._view.after.value != before
    assert explorer._view.panel.value != panel


def test_an_error_while_drawing_is_shown_and_the_next_state_draws(make, directions):
    class Broken(Bend):
        def edit(self, latents, strength):
            if strength == 1.0:
                raise RuntimeError("no <such> edit")
            return latents

    explorer = make(editors={**directions, "broken": Broken("broken")})
    explorer._view.sliders.slider("broken").value = 1.0
    assert "no &lt;such&gt; edit" in explorer._view.status.value
    with pytest.raises(RuntimeError, match="no <such> edit"):
        explorer.render()
    explorer.reset()
    assert (pixels(explorer.image) == pixels(explorer.original)).all()


def test_scores_use_one_core_and_leave_other_threads_alone():
    def cores() -> int:
        with ThreadPoolExecutor(1) as later:
            return later.submit(torch.get_num_threads).result()

    before = torch.get_num_threads(), cores()
    assert in_worker(SCORES, torch.get_num_threads) == 1
    assert (torch.get_num_threads(), cores()) == before


# --- scores and strip


def test_scores_before_and_after_and_their_change(make):
    reference = torch.tensor([[-0.1, 0.0], [0.1, 0.4]])  # deviations 0.1·√2 and 0.2·√2
    explorer = make(scorers=TinySuite(), reference_scores=reference)
    explorer.set(smile=3.0)
    scores = explorer._engine.scores(explorer._screen.frame())
    images = TinyGenerator().synthesize(explorer.latents)
    torch.testing.assert_close(scores.after, TinySuite()(images)[0])
    change = (scores.after - scores.before) / reference.std(0)
    html = explorer._view.panel.value
    for value in change.tolist():
        assert f'"fx-change">{value:+.1f}<'.replace("-0", "−0").replace("-1", "−1") in html
    assert "&lt;cold&gt;" in html and "<cold>" not in html


def test_the_unedited_face_is_scored_once(make):
    suite, calls = TinySuite(), []
    suite.register_forward_hook(lambda *_: calls.append(1))
    explorer = make(scorers=suite, reference_scores=torch.randn(9, 2))
    explorer.render()
    for strength in (1.0, 2.0, 3.0):
        explorer.set(smile=strength)
    explorer.reset()
    assert len(calls) == 1 + 3


def test_spread_from_random_faces(make):
    explorer = make(scorers=TinySuite())
    explorer.render()
    generator = TinyGenerator()
    scores = TinySuite()(generator.synthesize(generator.sample(64)))
    mean, deviation = explorer._engine.spread()
    torch.testing.assert_close(mean, scores.mean(0))
    torch.testing.assert_close(deviation, scores.std(0))
    generator = TinyGenerator()
    again = make(generator, scorers=TinySuite())
    again.render()
    assert generator.drawn == 1  # the 64 faces' scores were on disk
    assert again._view.panel.value == explorer._view.panel.value


def test_the_strip_shows_the_attribute_moved_last(make):
    explorer = make()
    explorer.set(age=1.0)
    explorer.set(smile=2.0)
    explorer._view.strip.value = True
    explorer.render()
    assert "Smile" in explorer._view.heading.value
    html = explorer._view.panel.value
    assert html.count("<img") == 7
    assert html.index("fx-here") < html.index("+2.0<") < html.index("+3.0<")
    explorer._view.strip.value = False
    explorer.render()
    assert explorer._view.panel.value == ""


# --- files


def test_an_edit_comes_back_from_json(make, tmp_path):
    explorer = make(seed=8, index=3)
    explorer.condition_on("glasses")
    explorer.set(age=-1.25, smile=0.1 + 0.2)
    path = explorer.save_edit()
    assert path.parent == tmp_path / "edits" and path.suffix == ".json"
    other = make()
    other.load_edit(path)
    assert other.state == explorer.state
    assert (pixels(other.image) == pixels(explorer.image)).all()
    other.undo()
    assert other.state == EditState()


def test_the_load_control(make):
    explorer = make(seed=8)
    explorer.set(smile=2.0)
    content = explorer.save_edit().read_bytes()
    upload = {"name": "a.json", "type": "", "size": 1, "last_modified": datetime.now(UTC)}
    other = make()
    other._view.load_edit.value = ({**upload, "content": memoryview(content)},)
    assert other.state == explorer.state and "Loaded a.json" in other._view.status.value
    other._view.load_edit.value = ({**upload, "content": memoryview(b"\xff{")},)
    assert "a.json: expected an edit" in other._view.status.value
    assert other.state == explorer.state and other._view.load_edit.value == ()


BAD_EDITS = {
    "another generator": (
        {"generator": {"name": "g", "fingerprint": "f1"}},
        FacenbError,
        "'g'.*'tiny'",
    ),
    "other weights": ({"generator": {"name": "tiny", "fingerprint": "f2"}}, FacenbError, "f2.*f1"),
    "no generator": ({"generator": None}, FacenbError, "'generator'"),
    "unknown editor": ({"strengths": {"smiel": 1}}, UnknownNameError, "Did you mean 'smile'"),
    "unknown held": ({"held": ["hat"]}, UnknownNameError, "hat"),
    "wrong space": ({"space": "w"}, SpaceError, "'w'.*'z'"),
    "NaN": ({"strengths": {"smile": float("nan")}}, FacenbError, "finite"),
    "infinity": ({"strengths": {"smile": float("-inf")}}, FacenbError, "finite"),
    "huge number": ({"strengths": {"smile": 10**400}}, FacenbError, "finite"),
    "text for a number": ({"strengths": {"smile": "1"}}, FacenbError, "strength of 'smile'"),
    "true for a number": ({"strengths": {"smile": True}}, FacenbError, "strength of 'smile'"),
    "too strong": ({"strengths": {"smile": 4}}, ValueError, "from -3 to 3"),
    "NaN in the code": ({"code": [float("nan")]}, FacenbError, "finite"),
    "seed as text": ({"seed": "1"}, FacenbError, "seed"),
    "negative index": ({"index": -1}, FacenbError, "index"),
    "held as text": ({"held": "smile"}, FacenbError, "held"),
    "held numbers": ({"held": [1]}, FacenbError, "name of a generator or attribute"),
    "another format": ({"format": "x"}, FacenbError, "facenb-edit-1"),
}


@pytest.mark.parametrize("change, error, message", BAD_EDITS.values(), ids=BAD_EDITS)
def test_bad_json_is_refused(make, tmp_path, change, error, message):
    explorer = make(seed=8)
    explorer.set(smile=2.0)
    edit = json.loads(explorer.save_edit().read_text()) | change
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(edit))
    state, picture = explorer.state, pixels(explorer.image)
    with pytest.raises(error, match=message):
        explorer.load_edit(path)
    assert explorer.state == state and (pixels(explorer.image) == picture).all()


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", "[" * 100_000, "\ufffd"])
def test_what_is_not_an_edit_is_refused(make, tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(FacenbError, match=r"bad\.json: expected"):
        make().load_edit(path)


def test_an_edit_of_other_editors_loads_with_a_warning(make):
    explorer = make()
    explorer.set(smile=2.0)
    path = explorer.save_edit()
    others = make(editors=Editors.from_vectors(NAMES, torch.eye(DIM)[:3]))
    with pytest.warns(UserWarning, match="not those that this edit was saved with"):
        others.load_edit(path)
    assert others.state == explorer.state


def test_png_holds_before_and_after(make):
    explorer = make()
    explorer.set(smile=2.0)
    saved = pixels(Image.open(explorer.save_png()))
    assert saved.shape == (16, 16 + 8 + 16, 3)
    assert (saved[:, :16] == pixels(explorer.original)).all()
    assert (saved[:, -16:] == pixels(explorer.image)).all()


def test_gif_sweeps_there_and_back(make):
    explorer = make()
    explorer.set(age=1.0)
    explorer.set(smile=2.0)
    path = explorer.save_gif()
    assert path.name.endswith("sweep-smile.gif")
    with Image.open(path) as gif:
        frames = []
        for i in range(gif.n_frames):
            gif.seek(i)
            frames.append(pixels(gif.convert("RGB")).astype(float))
        assert gif.info["loop"] == 0
    expected = [pixels(picture).astype(float) for picture in explorer._screen.sweep("smile", 16)]
    order = [int(np.argmin([abs(f - e).mean() for e in expected])) for f in frames]
    assert order == [*range(16), *range(14, 0, -1)]
    explorer.set(smile=-3.0)  # the first picture of the sweep, with age where it was
    assert (pixels(explorer.image) == expected[0]).all()


def test_controls_are_off_while_a_gif_is_made(make, tmp_path):
    generator = TinyGenerator()
    explorer = make(generator)
    view = explorer._view

    async def press() -> None:
        generator.gate.clear()
        view.save_gif.click()
        controls = [view.face, view.reset, view.save_gif, *map(view.sliders.slider, NAMES)]
        assert all(control.disabled for control in controls)
        generator.gate.set()
        while view.reset.disabled:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(press(), 30))
    assert not view.sliders.slider("smile").disabled and view.undo.disabled
    assert "Saved" in view.status.value and str(tmp_path) in view.status.value
    assert len(list((tmp_path / "edits").glob("*.gif"))) == 1


def test_a_file_that_cannot_be_written_is_a_message(make, tmp_path):
    (tmp_path / "edits").write_text("in the way")
    explorer = make()
    explorer._view.save_png.click()
    assert 'role="alert"' in explorer._view.status.value
    assert not explorer._view.save_png.disabled


def test_file_names_are_plain_and_short(make, directions):
    names = tuple(f"a/b <{i}> {'x' * 20}" for i in range(5))
    editors = Editors.from_vectors(names, torch.eye(DIM)[:5])
    explorer = make(editors=editors)
    explorer._view.sliders.slider(names[0]).value = 0.1
    assert explorer.save_png().name == f"seed0_a-b--0--{'x' * 20}+0.1.png"
    for name in names:
        explorer._view.sliders.slider(name).value = 1.0
    assert len(explorer.save_png().name) < 100


# --- what cannot be built, and how it shows itself


def test_what_cannot_be_built(make, directions):
    with pytest.raises(ValueError, match="at least one editor"):
        make(editors={})
    with pytest.raises(SpaceError, match="'w', 'z'"):
        make(editors={**directions, "bend": Bend(space="w")})
    with pytest.raises(SpaceError, match=r"'w'.*tiny.*'z'"):
        make(editors={"bend": Bend(space="w")})
    with pytest.raises(ValueError, match="strength_range"):
        make(strength_range=0)
    with pytest.raises(ValueError, match="seed"):
        make(seed=-1)
    with pytest.raises(ValueError, match=r"reference_scores \(N, 2\)"):
        make(scorers=TinySuite(), reference_scores=torch.zeros(5, 3))


def test_set_refuses_what_the_sliders_cannot_show(make):
    explorer = make()
    for strength in (3.1, float("nan")):
        with pytest.raises(ValueError, match="smile: expected a strength from -3 to 3"):
            explorer.set(smile=strength)
    with pytest.raises(UnknownNameError, match="Did you mean 'smile'"):
        explorer.set(smiel=0.0)
    with pytest.raises(UnknownNameError, match="hat"):
        explorer.condition_on("hat")
    assert explorer.state == EditState()


def test_it_shows_a_picture_before_the_widget(make, monkeypatch):
    explorer, displayed = make(), []
    monkeypatch.setattr(explorer_module, "display", lambda shown, **_: displayed.append(shown))
    explorer._ipython_display_()
    picture, widget = displayed
    data, _ = picture._repr_mimebundle_()
    assert pixels(Image.open(io.BytesIO(picture.data))).shape == (16, 40, 3) and "image/png" in data
    view = widget["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == explorer._view.root.model_id
    assert widget["text/plain"].startswith("The live editor")
