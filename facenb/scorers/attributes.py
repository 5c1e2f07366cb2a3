"""What each score is called, its unit, and what its two ends look like."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """One score.

    Attributes:
        name: column name, e.g. "yaw".
        unit: of the score's values.
        low, high: words for how a picture looks at either end; left and right are the viewer's.
        kind: "semantic" (a property of the face), "nuisance" (of the light; measures entanglement)
            or "quality".
        net: which net it is read from, a key of `facenb.scorers.nets.NETS`.
        formula: how it is read from the net.
    """

    name: str
    unit: str
    low: str
    high: str
    kind: str
    net: str
    formula: str


_LOG_ODDS = "log-odds"
_PROBE = "logistic probe on the 1024-d embedding, trained on 576 labelled samples"

# fmt: off
ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("yaw", "degrees", "turned left", "turned right", "semantic", "facemesh",
              "atan2(z, x) of the line from cheek point 234 to 454"),
    Attribute("pitch", "degrees", "looking up", "looking down", "semantic", "facemesh",
              "atan2(z, y) of the line from forehead point 10 to chin point 152"),
    Attribute("smile", _LOG_ODDS, "not smiling", "smiling", "semantic", "face_expression",
              "happy against the other six expressions"),
    Attribute("surprise", _LOG_ODDS, "calm", "surprised", "semantic", "face_expression",
              "surprised against the other six expressions"),
    Attribute("mouth_open", "nose-to-chin distances", "mouth closed", "mouth open", "semantic",
              "face_landmark_68", "|p62 - p66| / |p27 - p8|"),
    Attribute("gender", _LOG_ODDS, "female", "male", "semantic", "faceres",
              "the gender output before its sigmoid"),
    Attribute("age", "years", "young", "old", "semantic", "faceres",
              "expectation over the 100 age classes"),
    Attribute("glasses", _LOG_ODDS, "no glasses", "glasses", "semantic", "faceres", _PROBE),
    Attribute("hat", _LOG_ODDS, "no hat", "hat", "semantic", "faceres", _PROBE),
    Attribute("beard", _LOG_ODDS, "no beard", "beard", "semantic", "faceres", _PROBE),
    Attribute("brightness", "mean luma, 0 to 1", "dark", "bright", "nuisance", "pixels",
              "0.299 R + 0.587 G + 0.114 B, mean over the picture"),
    Attribute("warmth", "red - blue, -1 to 1", "cool", "warm", "nuisance", "pixels",
              "R - B, mean over the picture"),
    Attribute("quality", _LOG_ODDS, "broken", "clear face", "quality", "facemesh",
              "the face flag before its sigmoid"),
)
# fmt: on

BY_NAME: dict[str, Attribute] = {attribute.name: attribute for attribute in ATTRIBUTES}

# A face flag above 0.9, as log-odds: samples below it are better left out of a training set.
QUALITY_GATE = 2.1972
