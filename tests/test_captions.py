"""Sentences from scores, and the encoder."""

import re
import socket
from importlib.util import find_spec

import pytest
import torch

from facenb.errors import AssetError, FacenbError, UnknownNameError
from facenb.generators import load_generator
from facenb.sampling import observe
from facenb.scorers import load_scorers, sentence_encoder
from facenb.scorers.captions import PHRASES, Captions, Grammar
from facenb.scorers.sentence_encoder import SentenceEncoder

NAMES = ("smile", "surprise", "age", "gender", "glasses", "hat", "yaw", "pitch", "brightness")
installed = pytest.mark.skipif(
    not all(map(find_spec, (sentence_encoder.PACKAGE, "sentence_transformers"))),
    reason="the extra `captions` is not installed",
)


@pytest.fixture(scope="module")
def grammar():
    """Fitted on 0..1 in every column, so that cuts are the shares themselves."""
    return Grammar().fit(torch.linspace(0, 1, 1001)[:, None].expand(-1, len(NAMES)), NAMES)


@pytest.fixture(scope="module")
def encoder():
    return SentenceEncoder()


def sentence(grammar, **scores):
    row = [scores.get(name, 0.5) for name in NAMES]
    return grammar(torch.tensor([row]))[0]


def test_sentences_by_hand(grammar):
    assert sentence(grammar) == "a person"
    assert sentence(grammar, age=1.0) == "an old person"
    told = {"smile": 1.0, "age": 0.0, "gender": 0.0, "glasses": 1.0, "yaw": 0.0}
    assert sentence(grammar, **told) == "a smiling young woman with glasses, looking left"
    told |= {"surprise": 1.0, "hat": 1.0, "yaw": 1.0, "pitch": 0.0, "brightness": 0.0}
    assert sentence(grammar, **told) == (
        "a smiling and surprised young woman with glasses and a hat, looking right and up, "
        "in dim light"
    )
    assert sentence(grammar, smile=0.0, glasses=0.0, hat=0.0) == "a person"  # no word for that end


def test_words_are_said_for_their_share_of_the_samples():
    random = torch.Generator().manual_seed(0)
    scores = torch.randn(4_000, len(NAMES), generator=random)
    captions = Grammar().fit(scores, NAMES)(scores)
    for phrase in PHRASES:
        if phrase.attribute in NAMES:
            for word in filter(None, (phrase.low, phrase.high)):
                said = sum(bool(re.search(rf"\b{word}\b", caption)) for caption in captions)
                assert said / 4_000 == pytest.approx(phrase.share, abs=0.001), word


def test_grammar_leaves_out_what_it_does_not_know_and_says_so():
    scores = torch.randn(100, 2)
    assert Grammar().fit(scores, ("smile", "warmth")).high_.keys() == {"smile"}
    with pytest.raises(UnknownNameError, match=r"warmth.*Known: smile"):
        Grammar().fit(scores[:, :1], ("warmth",))
    with pytest.raises(ValueError, match=r"scores \(N, 2\) of smile, age"):
        Grammar().fit(scores, ("smile", "age"))(scores[:, :1])


@installed
def test_the_encoder_gives_the_reference_vectors(encoder):
    # noted down once: another version of the library must not give other vectors
    expected = {
        "a smiling young woman with glasses, looking left":
            [0.00466, 0.02345, -0.02662, 0.02387, 0.04632, 0.02514],
        "an old man with a beard and a hat":
            [0.04663, 0.12870, -0.01961, -0.03969, -0.00656, 0.04822],
        "A photo of a dog.": [-0.04384, 0.06450, 0.04958, 0.05167, -0.00058, 0.00405],
        "Café naïve 北京 don't—stop!!": [0.11082, 0.02900, 0.08141, -0.04431, 0.03781, 0.03720],
    }  # fmt: skip
    vectors = encoder(list(expected))
    assert vectors.shape == (4, 384)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(4))
    assert (vectors[:, :6] - torch.tensor(list(expected.values()))).abs().max() < 2e-5
    assert float(vectors[0] @ vectors[1]) == pytest.approx(0.11429, abs=2e-5)


@installed
def test_tokens_of_the_real_vocabulary(encoder):
    tokenise = encoder.model.tokenizer
    assert tokenise("unaffable")["input_ids"] == [101, 14477, 20961, 3468, 102]
    expected = [101, 7668, 15743, 1781, 1755, 2123, 1005, 1056, 1517, 2644, 999, 999, 102]
    assert tokenise("Café naïve 北京 don't—stop!!")["input_ids"] == expected


@installed
def test_it_works_without_a_network_and_silently(encoder, monkeypatch, capfd):
    def refuse(*_args, **_kwargs):
        raise AssertionError("asks the network")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    vectors = SentenceEncoder()(["a man"])
    assert torch.equal(vectors, encoder(["a man"])) and not vectors.requires_grad
    assert capfd.readouterr() == ("", "")


@installed
def test_vectors_do_not_depend_on_the_company_they_keep(encoder):
    texts = ["a man", "a smiling young woman with glasses and a hat, looking left", "a man"]
    together = encoder(texts)
    assert torch.equal(together[0], together[2])
    assert torch.allclose(together, torch.cat([encoder([text]) for text in texts]), atol=1e-6)
    closer = encoder(["a gentleman", "a lady"])
    assert together[0] @ closer[0] > together[0] @ closer[1]


@installed
def test_bad_sentences_are_named(encoder):
    with pytest.raises(TypeError, match="a list of one"):
        encoder("a man")
    with pytest.raises(ValueError, match="1 to 254 word pieces, given 0"):
        encoder(["  "])
    with pytest.raises(ValueError, match=r"given 300.*cut off"):
        encoder(["a man", "man " * 300])
    assert encoder(["man " * 254]).shape == (1, 384)
    with pytest.raises(ValueError, match=r"given 255"):
        encoder(["man " * 255])
    with pytest.raises(ValueError, match="given none"):
        encoder([])


@pytest.mark.parametrize("missing", [sentence_encoder.PACKAGE, "sentence_transformers"])
def test_a_missing_encoder_names_the_extra(monkeypatch, missing):
    monkeypatch.setattr(
        sentence_encoder, "find_spec", lambda name: None if name == missing else find_spec(name)
    )
    with pytest.raises(FacenbError, match=r"pip install 'facenb\[captions\]'"):
        SentenceEncoder()


@installed
@pytest.mark.parametrize("name", ["model.safetensors", "1_Pooling/config.json"])
def test_other_files_are_refused(monkeypatch, tmp_path, name):
    folder = sentence_encoder._model_folder()
    for other in sentence_encoder._SHA256:
        (tmp_path / other).parent.mkdir(exist_ok=True)
        (tmp_path / other).symlink_to(folder / other)
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(b"not these")
    monkeypatch.setattr(sentence_encoder, "_model_folder", lambda: tmp_path)
    with pytest.raises(AssetError, match=f"{name} is refused: expected sha256"):
        SentenceEncoder()


@installed
def test_every_file_that_is_read_is_pinned(tmp_path, monkeypatch):
    (tmp_path / "1_Pooling").mkdir()
    for name in sentence_encoder._SHA256:
        (tmp_path / name).symlink_to(sentence_encoder._model_folder() / name)
    monkeypatch.setattr(sentence_encoder, "_model_folder", lambda: tmp_path)
    assert SentenceEncoder()(["a man"]).shape == (1, 384)  # nothing but these


@installed
def test_captions_are_a_condition(encoder, tmp_path, monkeypatch):
    generator = load_generator("digiface-dcgan-64")
    scorers = load_scorers(["smile", "brightness"], generator.framing)
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path))
    codes = generator.sample(6, seed=2)
    images = generator.synthesize(codes)
    grammar = Grammar().fit(scorers(images), scorers.names)
    condition = Captions(scorers, grammar, encoder)
    said = condition.captions(images)
    assert "a smiling person" in " ".join(said) and "light" in " ".join(said)
    vectors = condition(images)
    assert torch.equal(vectors, encoder(said)) and len(condition.names) == 384
    assert torch.allclose(observe(generator, condition)(codes.values), vectors, atol=1e-5)
    for _ in range(2):  # computed, then from disk
        assert torch.equal(condition.of_scores(scorers(images)), vectors)
    other = Captions(scorers, Grammar().fit(scorers(images) + 1, scorers.names), encoder)
    assert other.fingerprint != condition.fingerprint
    with pytest.raises(ValueError, match="expected the scorers of smile, brightness"):
        Captions(load_scorers("smile", "digiface"), grammar, encoder)
