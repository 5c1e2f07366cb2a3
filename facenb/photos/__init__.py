"""Photographs: a face found and aligned, its latent in w+, edits, and back into the photograph.

`reading` opens files, `align` finds and cuts out the face, `encoder` and `invert` give its latent,
`tune` bends the generator around it, `paste` puts an edited face back; `Photograph` does all of it.
`measure` says how near an inversion is and what edits do to it, `known` does so on generated faces
whose code is known. `encoder_decoder` and `distill` are the other two ways to edit photographs.
"""

from facenb.photos.align import Aligned, Aligner, Face, Square
from facenb.photos.encoder import Encoder, load_encoder
from facenb.photos.invert import Inversion, invert
from facenb.photos.losses import PLAIN, ImageLoss, Weights
from facenb.photos.paste import Paster
from facenb.photos.photograph import Photograph, save_image
from facenb.photos.reading import PhotoError, read_photo, to_image
from facenb.photos.tune import tune, tuned

__all__ = ["PLAIN", "Aligned", "Aligner", "Encoder", "Face", "ImageLoss", "Inversion", "Paster",
           "PhotoError", "Photograph", "Square", "Weights", "invert", "load_encoder", "read_photo",
           "save_image", "to_image", "tune", "tuned"]  # fmt: skip
