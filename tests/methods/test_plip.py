from __future__ import annotations

import dataclasses

import pytest
import torch

from hcbench.data.augment import normalise, without_colour
from hcbench.data.samples import Phrase
from hcbench.errors import ConfigError, MethodError
from hcbench.methods.base import Batch, Context, Step
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
from hcbench.methods.parts.losses import cmpm
from hcbench.methods.parts.tokenizer import MASK, Tokenizer
from hcbench.methods.plip.card import Config
from hcbench.methods.plip.method import Plip, colour_distance, mask_ratio, masked_tokens, matched, phrase_draws
from hcbench.methods.plip.networks import ColourDecoder, Gate, PhraseDecoder, Pyramid

SIZE, MEMBERS = (32, 16), 2
SMALL = {"text_dim": 16, "text_layers": 1, "text_heads": 2, "text_tokens": 32, "tic_dim": 16}
COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (40, 50, 200), "white": (235, 235, 235)}
VOCABULARY = (*COLOURS, "a", "woman", "in", "shirt", "and", "trousers")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def at(index, total=20):
    return Step(
        index=index,
        total=total,
        stage="pretrain",
        stage_index=index,
        stage_total=total,
        images_seen=8 * index,
        epoch=0,
    )


def make(backbone="vit-mini8", **settings):
    torch.manual_seed(0)
    config = Config(**{**SMALL, "augmentation": "none", **settings})
    context = Context(input_size=SIZE, vocabulary=VOCABULARY, images_per_group=MEMBERS)
    return Plip(config, build_encoder(EncoderSpec(backbone, *SIZE), 0), context)


def batch(persons=4, seed=0):
    """Persons of two colours, the upper half of the picture and the lower, who are told of in one sentence."""
    names = list(COLOURS)
    images, texts, phrases = [], [], []
    for person in range(persons):
        above, below = names[person % 4], names[(person // 4 + person + 1) % 4]
        picture = torch.zeros(3, *SIZE)
        picture[:, :16] = torch.tensor(COLOURS[above]).view(3, 1, 1)
        picture[:, 16:] = torch.tensor(COLOURS[below]).view(3, 1, 1)
        text, found = "a woman in ", []
        for slot, phrase in (("upper", f"a {above} shirt"), ("lower", f"{below} trousers")):
            text += " and " if found else ""
            found.append(Phrase(slot, len(text), len(text) + len(phrase)))
            text += phrase
        images += [picture] * MEMBERS
        texts += [text] * MEMBERS
        phrases += [tuple(found)] * MEMBERS
    noise = 8 * torch.randn(len(images), 3, *SIZE, generator=generator(seed))
    return Batch(
        images=(torch.stack(images) + noise).clamp(0, 255).to(torch.uint8),
        indices=torch.arange(len(images)),
        identity=torch.arange(persons).repeat_interleave(MEMBERS) + 7,
        captions=tuple(texts),
        phrases=tuple(phrases),
    )


def only(method, views, step):
    (objective,) = method.objectives(views, step)
    return objective


def train(method, steps, first=0, optimiser=None):
    optimiser = optimiser or torch.optim.AdamW(method.parameters(), 2e-3)
    method.train()
    history = []
    for index in range(first, first + steps):
        torch.manual_seed(index)
        objective = only(method, method.views(batch(seed=index), generator(index)), at(index))
        optimiser.zero_grad()
        objective.loss.backward()
        optimiser.step()
        method.after_step(at(index))
        numbers = {name: float(value) for name, value in objective.parts.items()}
        history.append(numbers | {"loss": objective.loss.item()})
    return history


def test_the_loss_is_the_weighted_sum_of_three():
    method = make()
    views = method.views(batch(), generator())
    parts = (objective := only(method, views, at(0))).parts
    total = parts["ivlc_loss"] + 0.02 * parts["tic_loss"] + 0.1 * parts["iap_loss"]
    torch.testing.assert_close(objective.loss.detach(), total)
    assert float(parts["tic_weighted"]) == pytest.approx(0.02 * float(parts["tic_loss"]))
    tower, projection = method.encoder.towers()
    image = projection(method.encoder(views["images"]))
    _, text = tower(views["tokens"].ids, views["tokens"].mask)
    torch.testing.assert_close(parts["ivlc_loss"], cmpm(image, text, views["labels"]).detach())
    assert float(parts["positives_per_anchor"]) == MEMBERS
    assert float(parts["mask_ratio"]) == pytest.approx(0.2)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_identity_contrast_at_perfect_features(norm):
    """0 with l1, -ln P with l2, for P positives (spec: checked against the public code)."""
    persons, positives = 3, 4
    labels = torch.arange(persons).repeat_interleave(positives)
    perfect = 60 * torch.eye(persons)[labels]
    expected = 0.0 if norm == "l1" else -float(torch.tensor(float(positives)).log())
    assert float(cmpm(perfect, perfect, labels, label_norm=norm)) == pytest.approx(expected, abs=1e-4)


def test_identities_may_be_counted_from_anywhere():
    torch.manual_seed(0)
    image, text, labels = torch.randn(6, 4), torch.randn(6, 4), torch.tensor([0, 0, 1, 1, 2, 3])
    assert torch.equal(cmpm(image, text, labels), cmpm(image, text, labels + 1))


@pytest.mark.parametrize("backbone", ["vit-mini8", "resnet18", "swin-mini"])
def test_colours_come_in_the_images_size_from_any_backbone(backbone):
    size = (64, 32)
    encoder = build_encoder(EncoderSpec(backbone, *size), 0).train()
    pyramid = Pyramid(encoder)
    images = torch.randn(2, 3, *size)
    features, maps = pyramid(images)
    assert [x.shape[1] for x in maps] == pyramid.channels
    finest = (8, 4) if backbone == "vit-mini8" else (16, 8)  # a token grid is not interpolated before the decoder
    assert [tuple(x.shape[2:]) for x in maps] == [finest, (8, 4), (4, 2), (2, 1)]
    assert bool(pyramid.stages) == (backbone != "vit-mini8")
    decoder = ColourDecoder(pyramid.channels, size, 6, dim=16, pool="avg", gate="sigmoid")
    painted = decoder(maps, torch.randn(2, 6))
    assert painted.shape == images.shape
    colour_distance(painted, images, "l2norm").backward()
    norms = [p.grad.norm() for p in encoder.parameters() if p.grad is not None]
    assert float(torch.stack(norms).norm()) > 1e-3
    encoder.eval()
    torch.testing.assert_close(pyramid(images)[0].pooled, encoder(images).pooled)
    assert not any(module._forward_hooks for module in encoder.modules())
    assert features.pooled.shape == (2, encoder.dim)


def test_sizes_that_cannot_be_restored_are_refused():
    with pytest.raises(ConfigError, match="30x16") as caught:
        ColourDecoder([4] * 4, (30, 16), 6, dim=16, pool="avg", gate="sigmoid")
    assert "multiples of 4" in caught.value.hint
    with pytest.raises(ConfigError, match="tic_dim"):
        ColourDecoder([4] * 4, (32, 16), 6, dim=18, pool="avg", gate="sigmoid")


def test_gate_scales_channels_by_map_and_text():
    torch.manual_seed(0)
    maps, text = torch.randn(2, 4, 3, 2), torch.randn(2, 5)
    for pool in ("avg", "max"):
        for kind in ("sigmoid", "softmax"):
            gate = Gate(4, 5, pool=pool, gate=kind)
            ratio = gate(maps, text) / maps
            scale = ratio[:, :, 0, 0]
            torch.testing.assert_close(ratio, scale[:, :, None, None].expand_as(ratio), atol=1e-5, rtol=1e-5)
            assert ((scale > 0) & (scale < 1)).all()
            if kind == "softmax":
                torch.testing.assert_close(scale.sum(dim=1), torch.ones(2))
            assert not torch.allclose(gate(maps, text + 1), gate(maps, text), atol=1e-4)


def test_the_colour_norm_is_that_of_the_papers_size():
    """313.5 times the root mean square error, whatever the size (3 * 256 * 128 values)."""
    for size in ((32, 16), (256, 128)):
        images = torch.randn(2, 3, *size)
        for error in (0.1, 0.5):
            distance = colour_distance(images + error, images, "l2norm")
            assert float(distance) == pytest.approx(313.53 * error, rel=1e-3)
    one = torch.zeros(1, 3, 4, 4)
    assert float(colour_distance(one + 0.5, one, "mse")) == pytest.approx(0.25)
    assert float(colour_distance(one + 0.5, one, "l1")) == pytest.approx(0.5)
    right = one.clone().requires_grad_(True)
    colour_distance(right, one, "l2norm").backward()
    assert torch.isfinite(right.grad).all()


def test_grey_images_have_no_colour_and_keep_their_light():
    images = normalise(torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8, generator=generator()))
    grey = without_colour(images)
    assert grey.shape == images.shape
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    colours, light = images * std + mean, grey * std + mean
    expected = (colours * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(dim=1, keepdim=True)
    torch.testing.assert_close(light, expected.expand_as(light), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(without_colour(grey), grey, atol=1e-5, rtol=1e-5)


def test_phrases_are_masked_whole_and_nothing_else():
    words = Tokenizer.from_words(VOCABULARY, max_tokens=32)
    data = batch()
    tokens = words(data.captions)
    draws = phrase_draws(tokens, data.phrases, generator())
    for ratio in (0.0, 0.5, 1.0):
        asked = masked_tokens(draws, ratio)
        for row, (text, phrases) in enumerate(zip(data.captions, data.phrases, strict=True)):
            masked = {text[s:e] for s, e in tokens.spans[row, asked[row]].tolist()}
            sides = [set(text[p.start : p.end].split()) for p in phrases]
            hidden = [side for side in sides if side <= masked]
            assert masked == set().union(*hidden)
            assert len(hidden) >= 1
            if ratio == 1:
                assert len(hidden) == 2
    assert torch.equal(phrase_draws(tokens, data.phrases, generator()), draws)
    assert int(masked_tokens(draws, 0.0).sum()) < int(masked_tokens(draws, 1.0).sum())


def test_phrases_that_were_cut_off_ask_for_nothing():
    short = Tokenizer.from_words(VOCABULARY, max_tokens=5)
    data = batch()
    draws = phrase_draws(short(data.captions), data.phrases, generator())
    assert not masked_tokens(draws, 1.0).any()
    method = make(text_tokens=5)
    views = method.views(data, generator())
    objective = only(method, views, at(5))
    assert float(objective.parts["iap_loss"]) == 0
    assert float(objective.parts["masked_tokens"]) == 0
    objective.loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)
    none = dataclasses.replace(data, phrases=((),) * len(data.captions))
    assert not masked_tokens(phrase_draws(short(data.captions), none.phrases, generator()), 1.0).any()


def test_the_caption_stays_as_it_was_when_it_is_masked():
    method = make()
    views = method.views(batch(), generator())
    before = views["tokens"].ids.clone()
    seen = []
    read = method.encoder.text.bert
    read.register_forward_pre_hook(lambda module, inputs, named: seen.append(named["input_ids"]), with_kwargs=True)
    only(method, views, at(19)).loss.backward()
    assert torch.equal(views["tokens"].ids, before)
    whole, masked = seen
    assert torch.equal(whole, before)
    assert (masked == MASK).any()
    assert torch.equal(masked != before, masked == MASK)


def test_the_phrase_loss_is_that_of_masked_tokens_alone():
    torch.manual_seed(0)
    decoder = PhraseDecoder(16, 2, 11)
    hidden, image = torch.randn(3, 6, 16), torch.randn(3, 16)
    present = torch.tensor([[True] * 6, [True] * 4 + [False] * 2, [True] * 6])
    asked = torch.zeros(3, 6, dtype=torch.bool)
    asked[0, 2] = asked[1, 1] = True
    logits = decoder(hidden, image, present, asked)
    assert logits.shape == (2, 11)
    other = hidden.clone()
    other[2] += 1  # a caption of which nothing is asked
    other[1, 4:] += 1  # padding
    torch.testing.assert_close(decoder(other, image, present, asked), logits, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(decoder(hidden, image + 1, present, asked), logits, atol=1e-3)


def test_the_phrase_block_is_the_usual_one():
    """Only tokens that are asked for go its whole way; they come out as those of torch's block of all tokens."""
    torch.manual_seed(0)
    decoder = PhraseDecoder(16, 2, 11)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    block = torch.nn.TransformerEncoderLayer(16, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True)
    pairs = ((block.self_attn, decoder.attention), (block.norm1, decoder.before), (block.norm2, decoder.between),
             (block.linear1, decoder.mlp[0]), (block.linear2, decoder.mlp[2]))  # fmt: skip
    for ours, theirs in pairs:
        ours.load_state_dict(theirs.state_dict())
    hidden, image = torch.randn(3, 6, 16), torch.randn(3, 16)
    present = torch.arange(6)[None, :] < torch.tensor([6, 4, 5])[:, None]
    asked = torch.zeros(3, 6, dtype=torch.bool)
    asked[0, 2] = asked[1, 1] = asked[1, 3] = True
    expected = decoder.head(block(hidden + image[:, None], src_key_padding_mask=~present)[asked])
    torch.testing.assert_close(decoder(hidden, image, present, asked), expected, atol=1e-5, rtol=1e-4)


def test_the_share_of_masked_phrases_grows():
    ratios = [mask_ratio(k, 50, "sqrt", 0.2, 0.8) for k in range(50)]
    assert ratios[0] == pytest.approx(0.2)
    assert ratios[-1] == pytest.approx(0.8)
    assert ratios == sorted(ratios)
    half = {name: mask_ratio(25, 51, name, 0.0, 1.0) for name in ("sqrt", "linear", "square", "const")}
    assert half == pytest.approx({"sqrt": 0.5**0.5, "linear": 0.5, "square": 0.25, "const": 0.0})
    assert mask_ratio(0, 1, "sqrt", 0.2, 0.8) == 0.2


def test_learning_rates_and_weight_decay_of_the_towers():
    method = make(text_lr_factor=0.1)
    (spec,) = method.param_groups()
    text = {id(p) for p in method.encoder.text.parameters()}
    assert len(spec.groups) == 4
    for group in spec.groups:
        inside = {id(p) in text for p in group.params}
        assert inside == {group.lr_factor == 0.1}
        assert {p.squeeze().ndim < 2 for p in group.params} == {group.weight_decay_factor == 0.0}


def test_tasks_of_weight_zero_are_left_out():
    method = make(lambda_tic=0.0, lambda_iap=0.0)
    views = method.views(batch(), generator())
    objective = only(method, views, at(0))
    assert torch.equal(objective.loss.detach(), objective.parts["ivlc_loss"])
    names = {name.split(".")[0] for name, _ in method.named_parameters()}
    assert names == {"encoder"}


def test_pooling_follows_the_backbone():
    assert make().encoder.image_projection.pool == "cls"
    assert make("resnet18").encoder.image_projection.pool == "max"
    assert make(pool="mean").encoder.image_projection.pool == "mean"


def test_vectors_of_images_that_look_alike_are_spread():
    """Random towers give nearly one vector, from which the contrast does not come back; statistics tell them apart."""
    found = {}
    for wanted in (0.0, 0.2):
        method = make(spread=wanted)
        views = method.views(batch(), generator())
        views["images"] = views["images"].mean() + 0.05 * (views["images"] - views["images"].mean())
        found[wanted] = only(method, views, at(0)).parts
    for side in ("image", "text"):
        assert float(found[0.0][f"{side}_variance"]) < 0.3
        assert float(found[0.2][f"{side}_variance"]) > 0.9


def test_masked_captions_leave_the_statistics_of_vectors_alone():
    """A running mean that knew masked captions would be of texts that nobody searches with."""
    method = make()
    views = method.views(batch(), generator())
    only(method, views, at(19))
    norm = method.encoder.text.norm
    assert int(norm.num_batches_tracked) == 1
    with torch.no_grad():
        fresh = method.encoder.text
        fresh.norm = torch.nn.Identity()
        _, raw = fresh(views["tokens"].ids, views["tokens"].mask)
    torch.testing.assert_close(norm.running_mean, 0.1 * raw.mean(dim=0), atol=1e-5, rtol=1e-4)


def test_the_log_tells_what_an_image_costs():
    method = make()
    found = method.diagnostics()
    assert (found["image_forwards"], found["text_forwards"]) == (2, 2)
    assert found["image_spread"] == found["text_spread"] == pytest.approx(0.2)
    assert found["words"] == len(method.tokenizer)
    plain = make(lambda_tic=0.0, lambda_iap=0.0, spread=0.0).diagnostics()
    assert (plain["image_forwards"], plain["text_forwards"]) == (1, 1)
    assert "image_spread" not in plain


def test_nearest_neighbours_of_both_sides_are_counted():
    labels = torch.tensor([0, 0, 1, 1])
    same = labels[:, None] == labels[None, :]
    image = torch.eye(4)
    text = torch.stack([image[1], image[2], image[3], image[3]])  # the second is told of as another person
    assert {name: float(value) for name, value in matched(image, 5 * text, same).items()} == {
        "image_to_text_r1": 0.75,
        "text_to_image_r1": 0.75,
    }


def test_every_task_is_learned():
    history = train(make(), 40)
    for name, share in (("loss", 0.8), ("ivlc_loss", 0.8), ("tic_loss", 0.95), ("iap_loss", 0.8)):
        numbers = [step[name] for step in history]
        assert sum(numbers[-5:]) < share * sum(numbers[:5]), name
    assert history[-1]["iap_accuracy"] > history[0]["iap_accuracy"]
    assert history[-1]["text_to_image_r1"] > 0.9


def test_norms_of_both_towers_are_those_of_the_step_before():
    method = make()
    optimiser = torch.optim.SGD(method.parameters(), 0.0)
    first, second = train(method, 2, optimiser=optimiser)
    assert "image_grad_norm" not in first
    assert second["image_grad_norm"] > 0
    assert second["text_grad_norm"] > 0


def test_a_run_goes_on_exactly_and_seeds_repeat():
    whole = train(make(), 6)
    assert train(make(), 6) == whole
    method = make()
    optimiser = torch.optim.AdamW(method.parameters(), 2e-3)
    train(method, 3, optimiser=optimiser)
    other = make()
    other.load_state_dict(method.state_dict())
    resumed = torch.optim.AdamW(other.parameters(), 2e-3)
    resumed.load_state_dict(optimiser.state_dict())
    assert train(other, 3, first=3, optimiser=resumed) == whole[3:]


def test_odd_batches_and_single_persons_work():
    method = make()
    for persons in (1, 3):
        objective = only(method, method.views(batch(persons), generator()), at(1))
        assert torch.isfinite(objective.loss)


def test_one_image_has_no_statistics():
    """Vectors that are not standardised, and evaluation, take a single image."""
    whole = batch(1)
    one = dataclasses.replace(
        whole,
        **{name: getattr(whole, name)[:1] for name in ("images", "indices", "identity", "captions", "phrases")},
    )
    method = make()
    views = method.views(one, generator())
    with pytest.raises(MethodError, match=r"at least two images.*\n.*plip\.spread=0"):
        only(method, views, at(1))
    for other in (make().eval(), make(spread=0.0)):
        assert torch.isfinite(only(other, views, at(1)).loss)


def test_config_errors():
    for setting in (
        {"label_norm": "l3"}, {"pool": "attention"}, {"tic_dist": "lab"}, {"mse_pool": "sum"}, {"mse_gate": "relu"},
        {"mask_schedule": "cosine"}, {"text_pool": "cls"}, {"mask_end": 1.2}, {"mask_start": -0.1}, {"spread": -1.0},
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=next(iter(setting))):
            make(**setting)


def test_a_batch_must_hold_what_the_card_needs():
    for name in ("captions", "phrases", "identity"):
        with pytest.raises(MethodError, match="phrases and identities"):
            make().views(dataclasses.replace(batch(), **{name: None}), generator())
