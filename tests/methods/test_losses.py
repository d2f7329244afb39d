from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from hcbench.methods.parts import losses

GOLDEN = Path(__file__).parents[1] / "golden"
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-6, 1e-5  # relative, as the golden files state


def golden(name):
    with np.load(GOLDEN / f"loss_{name}.npz", allow_pickle=False) as stored:
        return {key: torch.from_numpy(np.asarray(stored[key])) for key in stored.files}


def leaf(tensor):
    return tensor.clone().requires_grad_()


def assert_loss(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=LOSS_TOLERANCE, atol=0)


def assert_gradient(actual, expected):
    assert (actual - expected).abs().max() <= GRADIENT_TOLERANCE * expected.abs().max()


@pytest.mark.parametrize("case", ["even", "uneven"])
def test_multi_positive_golden(case):
    g = golden("stablerep")
    features = leaf(g[f"{case}_feats"])
    loss = losses.multi_positive_contrastive(features, g[f"{case}_labels"], temperature=float(g[f"{case}_temperature"]))
    loss.backward()
    assert_loss(loss, g[f"expected_{case}_loss"])
    assert_gradient(features.grad, g[f"expected_{case}_grad"])


def test_image_text_golden():
    g = golden("stablerep")
    image, text, features = leaf(g["mm_image_emb"]), leaf(g["mm_text_emb"]), leaf(g["mm_image_feats"])
    image_loss = losses.multi_positive_contrastive(
        features, g["mm_image_labels"], temperature=float(g["mm_temperature"])
    )
    text_loss = losses.multi_positive_image_text(
        image, text, g["mm_image_labels"], g["mm_text_labels"], logit_scale=g["mm_logit_scale"]
    )
    loss = g["mm_w1"] * image_loss + g["mm_w2"] * text_loss
    loss.backward()
    assert_loss(image_loss, g["expected_mm_image_loss"])
    assert_loss(text_loss, g["expected_mm_img_txt_loss"])
    assert_loss(loss, g["expected_mm_loss"])
    assert_gradient(image.grad, g["expected_mm_grad_image_emb"])
    assert_gradient(text.grad, g["expected_mm_grad_text_emb"])
    assert_gradient(features.grad, g["expected_mm_grad_image_feats"])


def test_dino_golden_over_two_steps():
    g = golden("dino")
    center = torch.zeros(g["step0_teacher"].shape[1], dtype=torch.float64)
    for step in ("step0", "step1"):
        student = leaf(g[f"{step}_student"])
        loss = losses.dino(
            student,
            g[f"{step}_teacher"],
            center,
            ncrops=int(g["ncrops"]),
            student_temp=float(g["student_temp"]),
            teacher_temp=float(g[f"expected_{step}_teacher_temp"]),
        )
        loss.backward()
        center = losses.update_center(center, g[f"{step}_teacher"], momentum=float(g["center_momentum"]))
        assert_loss(loss, g[f"expected_{step}_loss"])
        assert_gradient(student.grad, g[f"expected_{step}_grad_student"])
        torch.testing.assert_close(center, g[f"expected_{step}_center_after"], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("case", ["unique", "shared"])
@pytest.mark.parametrize(("norm", "suffix"), [("l2", "cmpm"), ("l1", "cmpm_paper_l1")])
def test_cmpm_golden(case, norm, suffix):
    g = golden("cmpm")
    image, text = leaf(g[f"{case}_image"]), leaf(g[f"{case}_text"])
    loss = losses.cmpm(image, text, g[f"{case}_labels"], epsilon=float(g["epsilon"]), label_norm=norm)
    loss.backward()
    assert_loss(loss, g[f"expected_{case}_{suffix}"])
    assert_gradient(image.grad, g[f"expected_{case}_{suffix}_grad_image"])
    assert_gradient(text.grad, g[f"expected_{case}_{suffix}_grad_text"])


@pytest.mark.parametrize("case", ["unique", "shared"])
def test_cmpc_golden(case):
    g = golden("cmpm")
    image, text = leaf(g[f"{case}_image"]), leaf(g[f"{case}_text"])
    loss = losses.cmpc(image, text, g[f"{case}_labels"], g[f"{case}_cmpc_W"])
    loss.backward()
    assert_loss(loss, g[f"expected_{case}_cmpc"])
    assert_gradient(image.grad, g[f"expected_{case}_cmpc_grad_image"])
    assert_gradient(text.grad, g[f"expected_{case}_cmpc_grad_text"])


def test_cmpm_limits_at_perfect_features():
    features = 100 * torch.eye(3, dtype=torch.float64).repeat_interleave(4, dim=0)
    labels = torch.arange(3).repeat_interleave(4)
    assert abs(losses.cmpm(features, features, labels, label_norm="l1")) < 1e-6
    assert abs(losses.cmpm(features, features, labels, label_norm="l2") + math.log(4)) < 1e-6
    with pytest.raises(ValueError, match="l1"):
        losses.cmpm(features, features, labels, label_norm="max")


def test_info_nce_golden():
    g = golden("infonce")
    image, text, scale = leaf(g["image"]), leaf(g["text"]), leaf(g["logit_scale"])
    loss = losses.info_nce(image, text, scale)
    loss.backward()
    assert_loss(loss, g["expected_loss"])
    assert_gradient(image.grad, g["expected_grad_image"])
    assert_gradient(text.grad, g["expected_grad_text"])
    assert_gradient(scale.grad, g["expected_grad_logit_scale"])


def test_moco_golden():
    g = golden("moco")
    query, key, queue = leaf(g["query"]), leaf(g["key"]), g["queue"].clone()
    loss = losses.moco(query, key, queue, temperature=float(g["temperature"]))
    loss.backward()
    pointer = losses.enqueue(queue, int(g["queue_ptr"]), key)
    assert_loss(loss, g["expected_loss"])
    assert_gradient(query.grad, g["expected_grad_query"])
    assert key.grad is None
    assert pointer == int(g["expected_queue_ptr_after"])
    torch.testing.assert_close(queue, g["expected_queue_after"], rtol=1e-12, atol=1e-14)


# stablerep.md 3.1: orthogonal groups of identical vectors at temperature .1
@pytest.mark.parametrize(
    ("groups", "members", "expected"), [(8, 5, 1.3866915), (4, 2, 0.00027236), (1376, 6, 1.6816747)]
)
def test_multi_positive_closed_form(groups, members, expected):
    formula = math.log((members - 1) * math.exp(10) + groups * members - members) - 10
    assert abs(formula - expected) < 1e-6
    if groups > 100:
        return  # 8,256 rows: the formula alone, and the same formula is tested at smaller sizes
    features = torch.eye(groups, dtype=torch.float64).repeat_interleave(members, dim=0)
    labels = torch.arange(groups).repeat_interleave(members)
    assert abs(float(losses.multi_positive_contrastive(features, labels)) - expected) < 1e-6


def test_multi_positive_of_equal_features():
    loss = losses.multi_positive_contrastive(torch.ones(12, 4, dtype=torch.float64), torch.arange(12) // 3)
    assert float(loss) == pytest.approx(math.log(11), abs=1e-12)


def slow_multi_positive(features, labels, temperature):
    """The definition, loop by loop (stablerep.md 3.1)."""
    z = features / features.norm(dim=1, keepdim=True)
    n, total = len(z), 0.0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        logits = {j: float(z[i] @ z[j]) / temperature for j in others}
        log_sum = math.log(sum(math.exp(s) for s in logits.values()))
        positives = [j for j in others if labels[j] == labels[i]]
        total -= sum(logits[j] - log_sum for j in positives) / max(1, len(positives))
    return total / n


@pytest.mark.parametrize("seed", [0, 1])
def test_multi_positive_slow_reference(seed):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(17, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 6, (17,), generator=generator)
    loss = losses.multi_positive_contrastive(features, labels, temperature=0.3)
    assert float(loss) == pytest.approx(slow_multi_positive(features, labels, 0.3), rel=1e-10)
    order = torch.randperm(17, generator=generator)
    permuted = losses.multi_positive_contrastive(features[order], labels[order], temperature=0.3)
    assert float(permuted) == pytest.approx(float(loss), rel=1e-10)


def test_row_without_positive_gives_nothing_but_is_counted():
    features = leaf(torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    alone = losses.multi_positive_contrastive(features, torch.arange(5))
    assert alone.item() == 0
    pair = losses.multi_positive_contrastive(features, torch.tensor([0, 0, 1, 2, 3]))
    pair.backward()
    assert pair.item() > 0
    assert (features.grad.norm(dim=1) > 0).all()  # the others are negatives, so every row gets a gradient


def test_changed_labels_change_the_loss():
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    first = losses.multi_positive_contrastive(features, torch.tensor([0, 0, 1, 1, 2, 2]))
    second = losses.multi_positive_contrastive(features, torch.tensor([0, 1, 0, 1, 2, 2]))
    assert float(first) != float(second)


def test_instance_alignment_is_symmetric_in_gradient_and_has_stopped_keys():
    generator = torch.Generator().manual_seed(0)
    a, b = (leaf(torch.randn(5, 4, generator=generator, dtype=torch.float64)) for _ in range(2))
    loss = losses.instance_alignment(a, b, temperature=0.2)
    loss.backward()
    u, v = (torch.nn.functional.normalize(x.detach(), dim=1) for x in (a, b))
    expected = sum(-(x @ y.T / 0.2).log_softmax(dim=1).diagonal().mean() for x, y in ((u, v), (v, u)))
    assert loss.item() == pytest.approx(0.4 * expected.item(), rel=1e-12)
    query = leaf(a.detach())
    one_way = torch.nn.functional.cross_entropy(
        torch.nn.functional.normalize(query, dim=1) @ v.T / 0.2, torch.arange(5)
    )
    (0.4 * one_way).backward()
    torch.testing.assert_close(a.grad, query.grad)


def arrays(name):
    """The golden file as NumPy reads it: arrays, and numbers as 0-d arrays."""
    with np.load(GOLDEN / f"loss_{name}.npz", allow_pickle=False) as stored:
        return dict(stored)


def of_numpy(case):
    """Each loss on golden NumPy arrays alone, numbers 0-d, and its golden value."""
    s, d, c, i, m = (arrays(name) for name in ("stablerep", "dino", "cmpm", "infonce", "moco"))
    center = np.zeros((1, d["step0_teacher"].shape[1]))
    return {
        "multi_positive_contrastive": lambda: (
            losses.multi_positive_contrastive(s["even_feats"], s["even_labels"], temperature=s["even_temperature"]),
            s["expected_even_loss"],
        ),
        "multi_positive_image_text": lambda: (
            losses.multi_positive_image_text(
                s["mm_image_emb"],
                s["mm_text_emb"],
                s["mm_image_labels"],
                s["mm_text_labels"],
                logit_scale=s["mm_logit_scale"],
            ),
            s["expected_mm_img_txt_loss"],
        ),
        "dino": lambda: (
            losses.dino(
                d["step0_student"],
                d["step0_teacher"],
                center,
                ncrops=d["ncrops"],
                student_temp=d["student_temp"],
                teacher_temp=d["expected_step0_teacher_temp"],
            ),
            d["expected_step0_loss"],
        ),
        "update_center": lambda: (
            losses.update_center(center, d["step0_teacher"], momentum=d["center_momentum"]),
            d["expected_step0_center_after"].reshape(1, -1),
        ),
        "cmpm": lambda: (
            losses.cmpm(c["unique_image"], c["unique_text"], c["unique_labels"], epsilon=c["epsilon"]),
            c["expected_unique_cmpm_paper_l1"],
        ),
        "cmpc": lambda: (
            losses.cmpc(c["unique_image"], c["unique_text"], c["unique_labels"], c["unique_cmpc_W"]),
            c["expected_unique_cmpc"],
        ),
        "info_nce": lambda: (losses.info_nce(i["image"], i["text"], i["logit_scale"]), i["expected_loss"]),
        "moco": lambda: (
            losses.moco(m["query"], m["key"], m["queue"], temperature=m["temperature"]),
            m["expected_loss"],
        ),
    }[case]()


@pytest.mark.parametrize(
    "case",
    [
        "multi_positive_contrastive",
        "multi_positive_image_text",
        "dino",
        "update_center",
        "cmpm",
        "cmpc",
        "info_nce",
        "moco",
    ],
)
def test_numpy_arrays_and_their_numbers(case):
    found, expected = of_numpy(case)
    torch.testing.assert_close(found, torch.from_numpy(np.asarray(expected)), rtol=LOSS_TOLERANCE, atol=1e-14)


@pytest.mark.parametrize("number", [np.float32, np.float64, np.array])
def test_numpy_labels_and_numbers_beside_tensors(number):
    generator = torch.Generator().manual_seed(0)
    labels = np.arange(5, -1, -1)[::-1] // 2  # negative strides
    labels.flags.writeable = False
    plain, mixed = (leaf(x) for x in [torch.randn(6, 4, generator=generator)] * 2)
    losses.multi_positive_contrastive(plain, torch.tensor(labels.copy()), temperature=0.5).backward()
    losses.multi_positive_contrastive(mixed, labels, temperature=number(0.5)).backward()
    torch.testing.assert_close(mixed.grad, plain.grad, rtol=0, atol=0)
    image, scale = leaf(mixed.detach()), leaf(torch.tensor(8.0))
    losses.info_nce(image, mixed.detach().numpy(), scale).backward()
    assert image.grad.abs().sum() > 0
    assert scale.grad != 0
    assert losses.info_nce(image, mixed, number(8.0)).dtype == torch.float32


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_the_centre_is_taken_in_float32_of_low_precision(kind):
    teacher = (3 + torch.rand(1000, 5, generator=torch.Generator().manual_seed(0))).to(kind)
    center = losses.update_center(torch.zeros(5), teacher, momentum=0.0)
    assert center.dtype == torch.float32
    torch.testing.assert_close(center, teacher.float().mean(dim=0))
    kept = losses.update_center(torch.zeros(5, dtype=torch.float64), teacher.double(), momentum=0.0)
    assert kept.dtype == torch.float64
