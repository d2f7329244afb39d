"""Folders and settings that cannot work are told before anything is loaded."""

from __future__ import annotations

import json
import shutil

import pytest

from hcbench.errors import ConfigError, WeightsError
from hcbench.harness.cli.options import parse_size
from hcbench.harness.generation import recipe
from hcbench.harness.generation.weights import look_at


def change(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def copy(weights, tmp_path):
    shutil.copytree(weights, tmp_path / "w")
    return tmp_path / "w"


def test_a_good_folder_is_named_with_a_hash_and_no_path(weights):
    models = look_at("t2i-adapter", weights / "sd", weights / "adapter-keypose")
    assert models.factor == 8
    assert models.ids["model"].startswith("sd@")
    assert models.ids["adapter"].startswith("adapter-keypose@")
    assert models.variant is None
    assert not models.safety_checker


def test_other_weights_have_another_hash(copy):
    before = look_at("sd", copy / "sd", None).ids
    weights = copy / "sd" / "vae" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert look_at("sd", copy / "sd", None).ids != before


def test_a_missing_folder_is_named_with_what_must_lie_in_it(weights, tmp_path):
    with pytest.raises(WeightsError) as caught:
        look_at("sd", tmp_path / "sd-v1-5", None)
    assert "sd-v1-5" in caught.value.message
    assert "Nothing is downloaded" in caught.value.hint
    assert "unet/" in caught.value.hint
    with pytest.raises(ConfigError, match="--model was not given"):
        look_at("sd", None, None)
    with pytest.raises(ConfigError, match="--adapter was not given"):
        look_at("t2i-adapter", weights / "sd", None)
    with pytest.raises(WeightsError, match=r"--controlnet .*nothing is there"):
        look_at("controlnet", weights / "sd", tmp_path / "c")


def test_a_missing_part_is_named(copy):
    (copy / "sd" / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"unet has no weights .*it holds config.json"):
        look_at("sd", copy / "sd", None)
    shutil.rmtree(copy / "sd" / "tokenizer")
    with pytest.raises(WeightsError, match="has no folder tokenizer"):
        look_at("sd", copy / "sd", None)
    with pytest.raises(WeightsError, match=r"has no model_index\.json"):
        look_at("sd", copy / "control", None)


def test_a_checkpoint_file_is_no_folder(tmp_path):
    (tmp_path / "v1-5.ckpt").write_bytes(b"x")
    with pytest.raises(WeightsError, match="a file is there; expected a folder"):
        look_at("sd", tmp_path / "v1-5.ckpt", None)


def test_fp16_names_are_a_variant(copy):
    for part in ("unet", "vae", "text_encoder"):
        for path in (copy / "sd" / part).glob("*.safetensors"):
            path.rename(path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))
    assert look_at("sd", copy / "sd", None).variant == "fp16"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": [8, 16, 32]}, r"channels is \[8, 16, 32\], the UNet's block_out_channels \[8, 16\]"),
        ({"downscale_factor": 16}, "downscale_factor is 16, the VAE's factor 8"),
    ],
)
def test_an_adapter_of_another_model_is_refused(copy, changes, message):
    change(copy / "adapter-keypose" / "config.json", **changes)
    with pytest.raises(WeightsError, match=message):
        look_at("t2i-adapter", copy / "sd", copy / "adapter-keypose")


def test_an_adapter_needs_the_order_of_stable_diffusion(copy):
    change(copy / "sd" / "unet" / "config.json", down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"])
    with pytest.raises(WeightsError, match="plain DownBlock2D last"):
        look_at("t2i-adapter", copy / "sd", copy / "adapter-keypose")
    look_at("controlnet", copy / "sd", copy / "control")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_out_channels": [8, 32]}, r"block_out_channels is \[8, 32\]"),
        ({"cross_attention_dim": 16}, "cross_attention_dim is 16, the UNet's cross_attention_dim 8"),
        ({"conditioning_embedding_out_channels": [4, 8]}, "has 2 entries, the VAE 4"),
    ],
)
def test_a_controlnet_of_another_model_is_refused(copy, changes, message):
    change(copy / "control" / "config.json", **changes)
    with pytest.raises(WeightsError, match=message):
        look_at("controlnet", copy / "sd", copy / "control")


def test_sizes():
    recipe.check_sizes((512, 256), (256, 128), 8)
    with pytest.raises(ConfigError, match="60x124") as caught:
        recipe.check_sizes((60, 124), (60, 124), 8)
    assert "64x128" in caught.value.hint
    with pytest.raises(ConfigError, match="squeezed"):
        recipe.check_sizes((512, 256), (256, 256), 8)
    assert parse_size(" 256X128 ") == (256, 128)
    for wrong in ("256", "256x", "0x64", "256 by 128", "²x4"):
        with pytest.raises(ConfigError, match=r"--canvas .* is not of the form HEIGHTxWIDTH"):
            parse_size(wrong, "--canvas")


def test_precision_follows_the_device():
    assert recipe.device_and_precision(None, None, cuda=False) == ("cpu", "fp32")
    assert recipe.device_and_precision(None, None, cuda=True) == ("cuda", "fp16")
    assert recipe.device_and_precision(None, "bf16", cuda=True) == ("cuda", "bf16")
    with pytest.raises(ConfigError, match="needs a GPU"):
        recipe.device_and_precision(None, "fp16", cuda=False)
    with pytest.raises(ConfigError, match="no GPU"):
        recipe.device_and_precision("cuda", None, cuda=False)
    with pytest.raises(ConfigError, match="No precision"):
        recipe.device_and_precision(None, "fp8", cuda=True)
    with pytest.raises(ConfigError, match="No device"):
        recipe.device_and_precision("gpu0", None, cuda=True)


def test_the_drawing_is_what_the_adapter_was_trained_with(tmp_path):
    assert recipe.skeleton_style("t2i-adapter", None, tmp_path / "t2iadapter_keypose_sd14v1") == "t2i-keypose"
    assert recipe.skeleton_style("t2i-adapter", None, tmp_path / "t2iadapter_openpose_sd14v1") == "t2i-openpose"
    assert recipe.skeleton_style("controlnet", None, tmp_path / "any") == "controlnet"
    assert recipe.skeleton_style("t2i-adapter", "controlnet", tmp_path / "any") == "controlnet"
    assert recipe.skeleton_style("sd", None, tmp_path) == ""
    with pytest.raises(ConfigError, match="does not tell"):
        recipe.skeleton_style("t2i-adapter", None, tmp_path / "my-adapter")
    with pytest.raises(ConfigError, match="No drawing"):
        recipe.skeleton_style("controlnet", "open-pose", tmp_path)
    with pytest.raises(ConfigError, match="follows no skeleton"):
        recipe.skeleton_style("sd", "controlnet", tmp_path)
