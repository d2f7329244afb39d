"""PLIP's released layout, written here with random numbers, against a reference of the official forward."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hcbench.data.augment import IMAGENET_MEAN, IMAGENET_STD
from hcbench.errors import WeightsError
from hcbench.methods.parts.checkpoint import load_encoder, save_encoder
from hcbench.methods.parts.weights.fitting import load_foreign
from hcbench.methods.plip.weights import adapt, adapter

BLOCKS, HEADS, OUT = (3, 4, 6, 3), 8, 128  # 768 in the released file
WORDS = ["[PAD]", *(f"[unused{i}]" for i in range(9)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS += ["a", "man", "in", "##s", "red"]
BERT_DIM, BERT_LAYERS, BERT_POSITIONS = OUT, 2, 20
MEAN, STD = torch.tensor([0.357, 0.323, 0.328]), torch.tensor([0.252, 0.242, 0.239])


@pytest.fixture(scope="module")
def image_state():
    """CLIP's modified ResNet-50 in its own names, numbers that keep activations in range."""
    g = torch.Generator().manual_seed(0)
    out = {}

    def conv(name, o, i, k):
        out[f"{name}.weight"] = torch.randn(o, i, k, k, generator=g) * (2 / (i * k * k)) ** 0.5

    def bn(name, c, gain=1.0):
        out[f"{name}.weight"] = gain * (1 + 0.1 * torch.randn(c, generator=g))
        out[f"{name}.bias"] = 0.1 * torch.randn(c, generator=g)
        out[f"{name}.running_mean"] = 0.1 * torch.randn(c, generator=g)
        out[f"{name}.running_var"] = 0.5 + torch.rand(c, generator=g)
        out[f"{name}.num_batches_tracked"] = torch.tensor(7)

    for number, (o, i) in enumerate(((32, 3), (32, 32), (64, 32)), 1):
        conv(f"conv{number}", o, i, 3)
        bn(f"bn{number}", o)
    width = 64
    for layer, count in enumerate(BLOCKS, 1):
        inner = 32 * 2**layer
        for block in range(count):
            name = f"layer{layer}.{block}"
            for number, (o, i, k) in enumerate(((inner, width, 1), (inner, inner, 3), (4 * inner, inner, 1)), 1):
                conv(f"{name}.conv{number}", o, i, k)
                bn(f"{name}.bn{number}", o, 0.3 if number == 3 else 1.0)
            if block == 0:
                conv(f"{name}.downsample.0", 4 * inner, width, 1)
                bn(f"{name}.downsample.1", 4 * inner)
            width = 4 * inner
    out["attnpool.positional_embedding"] = 0.3 * torch.randn(33, width, generator=g)
    for name, rows in (("q_proj", width), ("k_proj", width), ("v_proj", width), ("c_proj", OUT)):
        out[f"attnpool.{name}.weight"] = torch.randn(rows, width, generator=g) * width**-0.5
        out[f"attnpool.{name}.bias"] = 0.1 * torch.randn(rows, generator=g)
    return out


def text_state():
    """A small BertModel as PLIP saves it."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=BERT_DIM, num_hidden_layers=BERT_LAYERS, num_attention_heads=BERT_DIM // 64,
        intermediate_size=96, max_position_embeddings=BERT_POSITIONS, initializer_range=0.2,
    )  # fmt: skip
    bert = BertModel(config).eval()
    state = {f"encoder.{name}": w for name, w in bert.state_dict().items()}
    return bert, state | {"encoder.embeddings.position_ids": torch.arange(BERT_POSITIONS)[None]}


def official(state, x):
    """Last map and image vector of the modified ResNet, from their definitions."""

    def conv(x, name, stride=1):
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def bn(x, name):
        p = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *p)

    for number, stride in ((1, 2), (2, 1), (3, 1)):
        x = F.relu(bn(conv(x, f"conv{number}", stride), f"bn{number}"))
    x = F.avg_pool2d(x, 2)
    for layer, count in enumerate(BLOCKS, 1):
        for block in range(count):
            name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            y = F.relu(bn(conv(x, f"{name}.conv1"), f"{name}.bn1"))
            y = F.relu(bn(conv(y, f"{name}.conv2"), f"{name}.bn2"))
            y = bn(conv(F.avg_pool2d(y, stride), f"{name}.conv3"), f"{name}.bn3")
            if block == 0:
                x = bn(conv(F.avg_pool2d(x, stride), f"{name}.downsample.0"), f"{name}.downsample.1")
            x = F.relu(x + y)
    tokens = x.flatten(2).permute(2, 0, 1)
    tokens = torch.cat([tokens.mean(dim=0, keepdim=True), tokens]) + state["attnpool.positional_embedding"][:, None]
    pooled, _ = F.multi_head_attention_forward(
        query=tokens[:1], key=tokens, value=tokens, embed_dim_to_check=tokens.shape[-1], num_heads=HEADS,
        q_proj_weight=state["attnpool.q_proj.weight"], k_proj_weight=state["attnpool.k_proj.weight"],
        v_proj_weight=state["attnpool.v_proj.weight"], in_proj_weight=None,
        in_proj_bias=torch.cat([state[f"attnpool.{p}_proj.bias"] for p in "qkv"]), bias_k=None, bias_v=None,
        add_zero_attn=False, dropout_p=0.0, out_proj_weight=state["attnpool.c_proj.weight"],
        out_proj_bias=state["attnpool.c_proj.bias"], use_separate_proj_weight=True, training=False, need_weights=False,
    )  # fmt: skip
    return x, pooled[0]


def written(path, image_state, text=None):
    file = {"ImgEncoder_state_dict": image_state, "Decoder_state_dict": {"up.weight": torch.zeros(2)}}
    torch.save(file | ({"TxtEncoder_state_dict": text} if text else {}), path)
    return path


def vocabulary(path, words=WORDS):
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
    return path


def test_the_image_tower_computes_what_the_official_one_does(image_state, tmp_path):
    encoder, report = load_foreign(written(tmp_path / "PLIP_RN50.pth.tar", image_state), adapt, (256, 128))
    assert report.complete
    assert report.share == 1.0
    assert "no text tower" in report.note
    x = torch.rand(2, 3, 256, 128, generator=torch.Generator().manual_seed(1))
    ours = (x - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
    with torch.no_grad():
        found = encoder(ours)
        grid, _ = official(image_state, (x - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1))
    torch.testing.assert_close(found.grid, grid, atol=1e-4, rtol=1e-4)
    assert grid.abs().mean() > 0.1, "the reference's map says something"


def test_both_towers_meet_in_one_space(image_state, tmp_path):
    bert, text = text_state()
    path = written(tmp_path / "PLIP.pth.tar", image_state, text)
    encoder, report = load_foreign(path, adapter(vocabulary(tmp_path / "vocab.txt")), (256, 128))
    assert report.complete
    assert "image and text tower" in report.note
    assert sum(name.startswith("text.bert.") for name in report.matched) == len(text) - 1  # without position_ids
    assert report.dropped == ("Decoder_state_dict.up.weight",)
    x = torch.rand(2, 3, 256, 128, generator=torch.Generator().manual_seed(1))
    ours = (x - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
    # [CLS] a man [SEP] and [CLS] a red man ##s [SEP]
    ids = torch.tensor([[11, 14, 15, 12, 0, 0], [11, 14, 18, 15, 17, 12]])
    with torch.no_grad():
        _, vectors = official(image_state, (x - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1))
        words = bert(input_ids=ids, attention_mask=(ids > 0).long()).pooler_output
        torch.testing.assert_close(encoder.embed_image(ours), vectors, atol=1e-4, rtol=1e-4)
    assert vectors.std() > 0.1, "the reference's vectors say something"
    torch.testing.assert_close(encoder.embed_text(["A man", "a red mans"]), words, atol=1e-4, rtol=0)
    save_encoder(encoder, tmp_path / "cell")
    again = load_encoder(tmp_path / "cell")
    with torch.no_grad():
        torch.testing.assert_close(again.embed_image(ours), encoder.embed_image(ours))
    torch.testing.assert_close(again.embed_text(["a man"]), encoder.embed_text(["a man"]))


def test_the_text_tower_needs_its_own_words(image_state, tmp_path):
    _, text = text_state()
    path = written(tmp_path / "PLIP.pth.tar", image_state, text)
    encoder, report = load_foreign(path, adapt, (128, 64))
    assert encoder.text is None
    assert "no vocab.txt" in report.note
    assert "image_projection.linear.weight" in report.dropped
    assert report.complete
    with pytest.raises(WeightsError, match="has 18 words, but the text tower was trained with 19") as refusal:
        load_foreign(path, adapter(vocabulary(tmp_path / "vocab.txt", WORDS[:-1])), (128, 64))
    assert "--vocab" in refusal.value.hint
    with pytest.raises(WeightsError, match="a token twice"):
        load_foreign(path, adapter(vocabulary(tmp_path / "vocab.txt", ["[PAD]", *WORDS[:-1]])), (128, 64))
    with pytest.raises(WeightsError, match="special tokens"):
        load_foreign(path, adapter(vocabulary(tmp_path / "vocab.txt", [f"w{i}" for i in range(19)])), (128, 64))
    with pytest.raises(WeightsError, match="cannot be read"):
        load_foreign(path, adapter(tmp_path / "none.txt"), (128, 64))


def test_positions_follow_the_size_of_the_input(image_state, tmp_path):
    state = dict(image_state)
    rows = torch.linspace(0, 1, 8)[:, None].expand(8, 4).reshape(32, 1)
    state["attnpool.positional_embedding"] = torch.cat([torch.zeros(1, 2048), rows.expand(-1, 2048)])
    encoder, _ = load_foreign(written(tmp_path / "p.tar", state), adapt, (128, 64))
    grid = encoder.weights()["attention.pos_embed"][1:, 0].view(4, 2)
    assert torch.allclose(grid[:, 0], grid[:, 1], atol=1e-6)
    assert (grid[1:, 0] > grid[:-1, 0]).all()


def test_files_of_another_kind_are_told_of(image_state, tmp_path):
    with pytest.raises(WeightsError, match=r"no PLIP v1: it has no conv3\.weight"):
        adapt({"conv1.weight": torch.zeros(1)}, (128, 64))
    state = {name: w for name, w in image_state.items() if not name.startswith("layer3.")}
    with pytest.raises(WeightsError, match=r"does not fit"):
        load_foreign(written(tmp_path / "p.tar", state), adapt, (128, 64))
    state = image_state | {"attnpool.positional_embedding": torch.zeros(31, 2048)}
    with pytest.raises(WeightsError, match="table of 31 positions"):
        load_foreign(written(tmp_path / "p.tar", state), adapt, (128, 64))
