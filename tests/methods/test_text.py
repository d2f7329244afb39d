"""Tokenizer, text tower, the shared space of an encoder, and its checkpoint."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from hcbench.data.people.captions import VOCABULARY
from hcbench.errors import ConfigError, MethodError, WeightsError
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
from hcbench.methods.parts.checkpoint import load_encoder, save_encoder
from hcbench.methods.parts.encoder import Features
from hcbench.methods.parts.text import ImageProjection, TextSpec, TextTower
from hcbench.methods.parts.tokenizer import MASK, PAD, SPECIALS, UNKNOWN, Tokenizer

SIZE = (32, 16)
WORDS = ("red", "t-shirt", "two-tone", "walking", "Café")
TEXTS = ["a red T-shirt , two-tone", "walking", "a man in a red shirt who is walking , walking , walking"]
PRINT_HASH = """
from hcbench.data.people.captions import VOCABULARY
from hcbench.methods.parts.tokenizer import Tokenizer
print(Tokenizer.from_words(VOCABULARY, max_tokens=48).sha256)
"""


def tokenizer(words=WORDS, max_tokens=24):
    return Tokenizer.from_words(words, max_tokens=max_tokens)


def tower(**settings):
    torch.manual_seed(0)
    spec = TextSpec(**{"dim": 16, "layers": 1, "heads": 2, "mlp_dim": 32, "max_tokens": 24, **settings})
    return TextTower(spec, tokenizer()).eval()


def two_towers(backbone="vit-mini16", pool="cls", **settings):
    encoder = build_encoder(EncoderSpec(backbone, *SIZE), 0)
    text = tower(**settings)
    encoder.join_text(text, ImageProjection(encoder.dim, text.dim, pool=pool))
    return encoder.eval()


def test_vocabulary_is_specials_characters_and_words_in_order():
    vocabulary = tokenizer().backend.get_vocab()
    entries = sorted(vocabulary, key=vocabulary.get)
    assert tuple(entries[:5]) == SPECIALS
    single = [e for e in entries[5:] if len(e) == 1]
    assert single == sorted(single)
    assert set("abz09-,") <= set(single)
    assert entries[5 + len(single) : 5 + 2 * len(single)] == [f"##{c}" for c in single]
    # BERT splits at punctuation, strips accents and lowers: so must the words be that are to be found again.
    assert entries[5 + 2 * len(single) :] == ["cafe", "red", "shirt", "tone", "two", "walking"]


def test_words_are_one_token_and_unknown_ones_are_spelled():
    found = tokenizer().backend.encode("a red T-shirt, blu").tokens
    assert found == ["[CLS]", "a", "red", "t", "-", "shirt", ",", "b", "##l", "##u", "[SEP]"]
    everything = tokenizer()(["the quick brown fox (17) jumps!"])
    assert not (everything.ids == UNKNOWN).any()


def test_tokens_are_padded_cut_and_know_their_characters():
    tokens = tokenizer(max_tokens=8)(TEXTS)
    assert tokens.ids.shape == (3, 8)
    assert tokens.mask.sum(dim=1).tolist() == [8, 3, 8]
    assert (tokens.ids[1, 3:] == PAD).all()
    assert tokens.ids[1, :3].tolist()[0] == SPECIALS.index("[CLS]")
    start, end = tokens.spans[0, 2].tolist()
    assert TEXTS[0][start:end] == "red"
    assert tokens.spans[:, 0].tolist() == [[0, 0]] * 3
    assert tokenizer()([]).ids.shape == (0, 0)
    again = tokenizer(max_tokens=8)
    assert torch.equal(again(TEXTS).ids, again(TEXTS).ids)


def test_two_processes_make_the_same_tokenizer():
    command = [sys.executable, "-c", PRINT_HASH]
    hashes = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert hashes[0] == hashes[1]
    assert hashes[0].strip() == Tokenizer.from_words(VOCABULARY, max_tokens=48).sha256
    assert hashes[0].strip() != Tokenizer.from_words(VOCABULARY[:-1], max_tokens=48).sha256


def test_a_tokenizer_reads_its_file_back():
    first = tokenizer()
    again = Tokenizer.from_json(first.to_json())
    assert again.sha256 == first.sha256
    assert len(again) == len(first)
    assert torch.equal(again(TEXTS).ids, first(TEXTS).ids)
    with pytest.raises(WeightsError, match="cannot be read"):
        Tokenizer.from_json("{}")
    swapped = json.loads(first.to_json())
    swapped["model"]["vocab"] |= {"[MASK]": 3, "[SEP]": MASK}
    with pytest.raises(WeightsError, match=r"\[MASK\], \[SEP\]"):
        Tokenizer.from_json(json.dumps(swapped))


def test_an_embedding_does_not_depend_on_its_batch():
    for settings in ({}, {"pool": "pooler"}, {"projection": 5}):
        text = tower(**settings)
        together = text.encode(TEXTS)
        alone = torch.cat([text.encode([one]) for one in TEXTS])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(text.encode(TEXTS, batch_size=2), together, atol=1e-5, rtol=1e-4)
        assert together.shape == (3, text.dim)
        assert not torch.allclose(together[0], together[1], atol=1e-4, rtol=0)


def test_pooled_is_the_mean_over_tokens_that_are_no_padding():
    text = tower()
    tokens = text.tokenizer(TEXTS)
    hidden, pooled = text(tokens.ids, tokens.mask)
    assert hidden.shape == (*tokens.ids.shape, 16)
    expected = torch.stack([row[mask].mean(dim=0) for row, mask in zip(hidden, tokens.mask, strict=True)])
    torch.testing.assert_close(pooled, expected)


def test_gradients_reach_every_parameter_of_the_tower():
    text = tower(projection=4).train()
    tokens = text.tokenizer(TEXTS)
    text(tokens.ids, tokens.mask)[1].square().sum().backward()
    assert [name for name, p in text.named_parameters() if p.grad is None] == []


def test_encoding_leaves_the_mode_alone():
    text = tower(dropout=0.5).train()
    assert torch.equal(text.encode(TEXTS), text.encode(TEXTS))
    assert text.training


def test_image_projection_pools_as_it_says():
    grid = torch.arange(24.0).view(1, 2, 4, 3)
    features = Features(torch.tensor([[5.0, 7.0]]), grid)
    for pool, expected in (("cls", [5.0, 7.0]), ("mean", [5.5, 17.5]), ("max", [11.0, 23.0])):
        projection = ImageProjection(2, 2, pool=pool)
        projection.linear.weight.data = torch.eye(2)
        assert projection(features).tolist() == [expected]
        assert ImageProjection(**projection.arguments()).pool == pool
    assert ImageProjection(2, 3, bias=False).arguments()["bias"] is False


def test_pieces_of_similar_length_change_no_text():
    texts = [" ".join(["red shirt cafe walking"] * (1 + k % 5)) for k in range(60)]
    text = tower()
    tokens = text.tokenizer(texts)
    hidden, vectors = text(tokens.ids, tokens.mask)
    whole, pooled = text._piece(tokens.ids, tokens.mask)
    torch.testing.assert_close(hidden[tokens.mask], whole[tokens.mask], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(vectors, pooled, atol=1e-5, rtol=1e-4)
    assert len(tokens.mask.sum(dim=1).unique()) > 2
    assert torch.equal(text.states(tokens.ids, tokens.mask), hidden)


def test_standardised_towers_come_back_with_their_statistics(tmp_path):
    encoder = two_towers(spread=0.5)
    encoder.image_projection = ImageProjection(encoder.dim, encoder.text.dim, spread=0.5)
    images, tokens = torch.randn(6, 3, *SIZE), encoder.text.tokenizer(TEXTS)
    encoder.train()
    for embedded in (encoder.embed_image(images), encoder.text(tokens.ids, tokens.mask)[1]):
        torch.testing.assert_close(embedded.mean(dim=0), torch.zeros(embedded.shape[1]), atol=1e-4, rtol=0)
        assert float(embedded.detach().std(dim=0, correction=0).mean()) == pytest.approx(0.5, rel=0.05)
    encoder.eval()
    save_encoder(encoder, tmp_path)
    loaded = load_encoder(tmp_path)
    torch.testing.assert_close(loaded.embed_image(images), encoder.embed_image(images))
    torch.testing.assert_close(loaded.embed_text(TEXTS), encoder.embed_text(TEXTS))
    assert loaded.image_projection.norm.running_mean.any()


def test_one_call_embeds_images_and_texts_in_one_space():
    encoder = two_towers()
    images = torch.randn(3, 3, *SIZE)
    assert encoder.embed_image(images).shape == encoder.embed_text(TEXTS).shape == (3, 16)
    torch.testing.assert_close(encoder.embed_image(images), encoder.image_projection(encoder(images)))
    bare = build_encoder(EncoderSpec("vit-mini16", *SIZE), 0)
    assert bare.text is None
    for ask in (lambda: bare.embed_image(images), lambda: bare.embed_text(TEXTS), bare.towers):
        with pytest.raises(MethodError, match="no text tower"):
            ask()


def test_checkpoint_holds_both_towers_and_the_backbone_stays_timms(tmp_path):
    encoder = two_towers(pool="max", projection=8)
    save_encoder(encoder, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "encoder.safetensors", "encoder.json", "text.safetensors", "tokenizer.json",
    }  # fmt: skip
    loaded = load_encoder(tmp_path)
    images = torch.randn(2, 3, *SIZE)
    assert not loaded.training
    assert torch.equal(loaded.embed_image(images), encoder.embed_image(images))
    assert torch.equal(loaded.embed_text(TEXTS), encoder.embed_text(TEXTS))
    facts = json.loads((tmp_path / "encoder.json").read_text())
    plain = timm.create_model(facts["timm"]["model"], **facts["timm"]["arguments"])
    plain.load_state_dict(load_file(tmp_path / "encoder.safetensors"))
    torch.testing.assert_close(plain.eval()(images), encoder(images).pooled)


def test_an_encoder_without_texts_is_stored_as_before(tmp_path):
    bare = build_encoder(EncoderSpec("vit-mini16", *SIZE), 0)
    save_encoder(bare, tmp_path / "bare")
    assert {path.name for path in (tmp_path / "bare").iterdir()} == {"encoder.safetensors", "encoder.json"}
    assert "text" not in json.loads((tmp_path / "bare" / "encoder.json").read_text())
    assert load_encoder(tmp_path / "bare").text is None
    save_encoder(two_towers(), tmp_path / "both")
    files = [(tmp_path / name / "encoder.safetensors").read_bytes() for name in ("bare", "both")]
    assert files[0] == files[1]


def test_text_files_that_do_not_fit_are_refused(tmp_path):
    save_encoder(two_towers(), tmp_path)
    good = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(tokenizer(WORDS[1:]).to_json())
    with pytest.raises(WeightsError, match="not the tokenizer"):
        load_encoder(tmp_path)
    (tmp_path / "tokenizer.json").write_text(good)
    weights = load_file(tmp_path / "text.safetensors")
    name = "text.bert.embeddings.word_embeddings.weight"
    save_file({**weights, name: weights[name][:-1].clone()}, tmp_path / "text.safetensors")
    with pytest.raises(WeightsError, match="does not fit the text tower"):
        load_encoder(tmp_path)
    (tmp_path / "text.safetensors").write_bytes(b"cut")
    with pytest.raises(WeightsError, match=r"text\.safetensors cannot be read"):
        load_encoder(tmp_path)
    facts = json.loads((tmp_path / "encoder.json").read_text())
    del facts["text"]["image_projection"]
    (tmp_path / "encoder.json").write_text(json.dumps(facts))
    with pytest.raises(WeightsError, match="builds no text tower"):
        load_encoder(tmp_path)
    (tmp_path / "text.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"no text\.safetensors"):
        load_encoder(tmp_path)


def test_errors():
    for setting, message in (({"pool": "max"}, "max"), ({"heads": 3}, "3 heads"), ({"max_tokens": 2}, "2 positions")):
        with pytest.raises(ConfigError, match=message):
            tower(**setting)
    with pytest.raises(ConfigError, match="attention"):
        ImageProjection(2, 2, pool="attention")
