"""What each score is called, its unit, its group, and what its two ends look like."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from facenb.errors import unknown
from facenb.scorers.nets.blendshapes import ACTION_UNITS


@dataclass(frozen=True)
class Attribute:
    """One score.

    Attributes:
        name: column name, e.g. "yaw".
        unit: of the score's values.
        low, high: words for how an image looks at either end; left and right are the viewer's.
        kind: "semantic" (a property of the face), "nuisance" (of the light; measures entanglement)
            or "quality".
        net: which net it is read from, a key of `facenb.scorers.registry.NETS` for its framing.
        formula: how it is read from the net.
        group: "pose", "expression", "action units", "person", "hair", "accessories", "light" or
            "quality".
        description: what it measures, in a few words.
    """

    name: str
    unit: str
    low: str
    high: str
    kind: str
    net: str
    formula: str
    group: str = ""
    description: str = ""


_LOG_ODDS = "log-odds"
_BLENDSHAPE = "logit of a blendshape"
_NOSE_TO_CHIN = "nose-to-chin distances"
_DIGIFACE_PROBE = "logistic probe on the 1024-d embedding, trained on 576 labelled samples"
_LUMA = "0.299 R + 0.587 G + 0.114 B, mean over the image"
_WARM = "R - B, mean over the image"


def _group(group: str, *attributes: Attribute) -> tuple[Attribute, ...]:
    return tuple(replace(attribute, group=group) for attribute in attributes)


def _probed(name: str, low: str, high: str, net: str) -> Attribute:
    width = {"faceres": 1024, "efficientnet": 1280}[net]
    formula = f"logistic probe on the {width}-d embedding, trained on 432 labelled faces"
    return Attribute(name, _LOG_ODDS, low, high, "semantic", net, formula)


def _unit(name: str) -> Attribute:
    description, shapes = ACTION_UNITS[name]
    formula, unit = f"blendshape {shapes[0]}", _BLENDSHAPE
    if len(shapes) > 1:
        formula = f"blendshape {shapes[0].removesuffix('Left')}, mean of left and right"
    if name == "AU15":
        formula, unit = "corners 61, 291 below the lips' middle 13, 14", _NOSE_TO_CHIN
    low, high = _UNIT_ENDS[name]
    return Attribute(
        name, unit, low, high, "semantic", "face_mesh", formula, description=description
    )


_UNIT_ENDS = {
    "AU01": ("inner brows low", "inner brows raised"),
    "AU02": ("outer brows low", "outer brows raised"),
    "AU04": ("brows high", "brows lowered"),
    "AU05": ("upper lids low", "upper lids raised"),
    "AU06": ("cheeks at rest", "cheeks raised"),
    "AU09": ("nose at rest", "nose wrinkled"),
    "AU10": ("upper lip at rest", "upper lip raised"),
    "AU12": ("mouth corners at rest", "mouth corners pulled up"),
    "AU15": ("mouth corners high", "mouth corners pulled down"),
    "AU18": ("lips at rest", "lips puckered"),
    "AU26": ("jaw closed", "jaw dropped"),
    "AU45": ("eyes wide open", "eyes closed"),
}


# fmt: off
_DIGIFACE = (
    *_group("pose",
        Attribute("yaw", "degrees", "turned left", "turned right", "semantic", "facemesh",
                  "atan2(z, x) of the line from cheek point 234 to 454"),
        Attribute("pitch", "degrees", "looking up", "looking down", "semantic", "facemesh",
                  "atan2(z, y) of the line from forehead point 10 to chin point 152")),
    *_group("expression",
        Attribute("smile", _LOG_ODDS, "not smiling", "smiling", "semantic", "face_expression",
                  "happy against the other six expressions"),
        Attribute("surprise", _LOG_ODDS, "calm", "surprised", "semantic", "face_expression",
                  "surprised against the other six expressions"),
        Attribute("mouth_open", _NOSE_TO_CHIN, "mouth closed", "mouth open", "semantic",
                  "face_landmark_68", "|p62 - p66| / |p27 - p8|")),
    *_group("person",
        Attribute("gender", _LOG_ODDS, "female", "male", "semantic", "faceres",
                  "the gender output before its sigmoid"),
        Attribute("age", "years", "young", "old", "semantic", "faceres",
                  "expectation over the 100 age classes")),
    *_group("accessories",
        Attribute("glasses", _LOG_ODDS, "no glasses", "glasses", "semantic", "faceres",
                  _DIGIFACE_PROBE),
        Attribute("hat", _LOG_ODDS, "no hat", "hat", "semantic", "faceres", _DIGIFACE_PROBE)),
    *_group("hair",
        Attribute("beard", _LOG_ODDS, "no beard", "beard", "semantic", "faceres",
                  _DIGIFACE_PROBE)),
    *_group("light",
        Attribute("brightness", "mean luma, 0 to 1", "dark", "bright", "nuisance", "pixels", _LUMA),
        Attribute("warmth", "red - blue, -1 to 1", "cool", "warm", "nuisance", "pixels", _WARM)),
    *_group("quality",
        Attribute("quality", _LOG_ODDS, "broken", "clear face", "quality", "facemesh",
                  "the face flag before its sigmoid")),
)

_FFHQ = (
    *_group("pose",
        Attribute("yaw", "degrees", "turned left", "turned right", "semantic", "face_mesh",
                  "atan2(z, x) of the line across, between the corners of eyes and mouth"),
        Attribute("pitch", "degrees", "looking up", "looking down", "semantic", "face_mesh",
                  "atan2(z, y) of the line from forehead point 10 to chin point 152"),
        Attribute("roll", "degrees", "tilted left", "tilted right", "semantic", "face_mesh",
                  "atan2(y, x) of the line across")),
    *_group("expression",
        Attribute("smile", _BLENDSHAPE, "not smiling", "smiling", "semantic", "face_mesh",
                  "mean of AU06 and AU12"),
        Attribute("mouth_open", _NOSE_TO_CHIN, "mouth closed", "mouth open", "semantic",
                  "face_mesh", "|p13 - p14| / |p168 - p152|"),
        Attribute("teeth", _BLENDSHAPE, "teeth hidden", "teeth shown", "semantic", "face_mesh",
                  "mean of mouthUpperUp and mouthLowerDown, left and right"),
        Attribute("surprise", _BLENDSHAPE, "calm", "surprised", "semantic", "face_mesh",
                  "mean of AU01, AU02, AU05 and AU26")),
    *_group("action units", *map(_unit, ACTION_UNITS)),
    *_group("person",
        Attribute("gender", _LOG_ODDS, "female", "male", "semantic", "faceres",
                  "the gender output before its sigmoid"),
        Attribute("age", "years", "young", "old", "semantic", "faceres",
                  "expectation over the 100 age classes")),
    *_group("accessories",
        _probed("glasses", "no glasses", "glasses", "faceres"),
        _probed("hat", "no hat", "hat", "efficientnet"),
        _probed("make_up", "no make-up", "make-up", "faceres")),
    *_group("hair",
        _probed("beard", "no beard", "beard", "faceres"),
        _probed("fringe", "forehead bare", "fringe", "faceres"),
        _probed("bald", "hair", "bald", "faceres"),
        _probed("grey_hair", "no grey hair", "grey hair", "faceres"),
        _probed("long_hair", "short hair", "long hair", "faceres"),
        _probed("wavy_hair", "straight hair", "wavy hair", "faceres")),
    *_group("light",
        Attribute("brightness", "mean luma, 0 to 1", "dark", "bright", "nuisance", "pixels", _LUMA),
        Attribute("warmth", "red - blue, -1 to 1", "cool", "warm", "nuisance", "pixels", _WARM)),
    *_group("quality",
        Attribute("quality", _LOG_ODDS, "profile or broken", "clear face", "quality", "face_mesh",
                  "the face flag before its sigmoid")),
)

# Nothing is learned with these: they judge what was learned with the others.
_INDEPENDENT = (
    *_group("expression",
        Attribute("smile", _LOG_ODDS, "not smiling", "smiling", "semantic", "face_expression",
                  "happy against the other six expressions"),
        Attribute("mouth_open", _NOSE_TO_CHIN, "mouth closed", "mouth open", "semantic",
                  "face_landmark_68", "|p62 - p66| / |p27 - p8|"),
        Attribute("surprise", _LOG_ODDS, "calm", "surprised", "semantic", "face_expression",
                  "surprised against the other expressions but happy")),
    *_group("person",
        Attribute("gender", _LOG_ODDS, "female", "male", "semantic", "age_gender",
                  "male less female"),
        Attribute("age", "years", "young", "old", "semantic", "age_gender",
                  "expectation over the 81 age classes")),
    *_group("accessories",
        _probed("glasses", "no glasses", "glasses", "efficientnet"),
        _probed("hat", "no hat", "hat", "faceres"),
        _probed("make_up", "no make-up", "make-up", "efficientnet")),
    *_group("hair",
        _probed("beard", "no beard", "beard", "efficientnet"),
        _probed("fringe", "forehead bare", "fringe", "efficientnet"),
        _probed("bald", "hair", "bald", "efficientnet"),
        _probed("grey_hair", "no grey hair", "grey hair", "efficientnet"),
        _probed("long_hair", "short hair", "long hair", "efficientnet"),
        _probed("wavy_hair", "straight hair", "wavy hair", "efficientnet")),
)
# fmt: on

ATTRIBUTES: dict[str, tuple[Attribute, ...]] = {
    "ffhq": _FFHQ,
    "digiface": _DIGIFACE,
    "independent": _INDEPENDENT,
}

# A face flag above 0.9, as log-odds: samples below it are better left out of a training set.
QUALITY_GATE = 2.1972


def conditions_of(names: Iterable[str]) -> list[str]:
    """Of these scores those that count as attributes of their own: action units make up the
    expressions, and quality is no attribute."""
    return [name for name in names if not name.startswith("AU") and name != "quality"]


def select(names: str | Iterable[str] | None, known: Sequence[Attribute]) -> list[Attribute]:
    """The attributes of these names and groups, in the order given, each once; None means all.

    Raises:
        UnknownNameError: no such attribute or group; the message lists the known ones.
        ValueError: no name at all, or an attribute that is named twice.
    """
    if names is None:
        return list(known)
    names = [names] if isinstance(names, str) else list(names)
    by_name = {attribute.name: attribute for attribute in known}
    groups = list(dict.fromkeys(attribute.group for attribute in known))
    if not names or len(set(names)) != len(names):
        raise ValueError(
            f"names: expected distinct attributes and groups, at least one, given {names}."
        )
    found: dict[str, Attribute] = {}
    for name in names:
        if name in by_name:
            found[name] = by_name[name]
        elif name in groups:
            found |= {a.name: a for a in known if a.group == name}
        else:
            raise unknown("attribute or group of attributes", name, [*by_name, *groups])
    return list(found.values())
