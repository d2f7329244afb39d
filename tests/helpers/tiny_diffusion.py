"""Stable Diffusion in 80,000 random weights, with a ControlNet and a T2I-Adapter: plumbing, never evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

LEVELS = (8, 16)


def write_stable_diffusion(folder: Path, *, attention_first: bool = True, seed: int = 0) -> Any:
    """Write a whole pipeline folder; gives its UNet."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(seed)
    symbols = sorted(ByteLevel.alphabet())
    words = [*symbols, *(f"{symbol}</w>" for symbol in symbols), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=77)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=514, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=77, projection_dim=8, bos_token_id=512, eos_token_id=513, pad_token_id=513,
        )
    )  # fmt: skip
    downs = ("CrossAttnDownBlock2D", "DownBlock2D") if attention_first else ("DownBlock2D", "CrossAttnDownBlock2D")
    ups = ("UpBlock2D", "CrossAttnUpBlock2D") if attention_first else ("CrossAttnUpBlock2D", "UpBlock2D")
    unet = UNet2DConditionModel(
        in_channels=4, out_channels=4, block_out_channels=LEVELS, layers_per_block=1, down_block_types=downs,
        up_block_types=ups, cross_attention_dim=8, attention_head_dim=2, norm_num_groups=8,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8,) * 4, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1, latent_channels=4, norm_num_groups=8,
    )  # fmt: skip
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    )  # fmt: skip
    StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return unet


def write_controlnet(folder: Path, unet: Any, *, moved: bool = False, blocks: int = 4) -> None:
    """Write a ControlNet; `moved` gives its zero convolutions weights, without which it has no effect."""
    from diffusers import ControlNetModel

    torch.manual_seed(1)
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 4, 8, 8)[:blocks])
    if moved:
        zeros = [net.controlnet_cond_embedding.conv_out, net.controlnet_mid_block, *net.controlnet_down_blocks]
        for layer in zeros:
            torch.nn.init.normal_(layer.weight)
        for layer in net.controlnet_cond_embedding.modules():  # else the skeleton fades on its way
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.normal_(layer.weight, std=0.5)
    net.save_pretrained(folder)


def write_adapter(folder: Path, *, channels: tuple[int, ...] = LEVELS, factor: int = 8) -> None:
    """Write a T2I-Adapter."""
    from diffusers import T2IAdapter

    torch.manual_seed(2)
    T2IAdapter(
        in_channels=3, channels=list(channels), num_res_blocks=1, downscale_factor=factor, adapter_type="full_adapter"
    ).save_pretrained(folder)


def write_vitpose(folder: Path) -> None:
    """Write a ViTPose of random weights, and the file that says how it is fed."""
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation, VitPoseImageProcessor

    torch.manual_seed(3)
    backbone = VitPoseBackboneConfig(
        image_size=[64, 48], patch_size=[16, 16], hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        mlp_ratio=2, out_indices=[1],
    )  # fmt: skip
    VitPoseForPoseEstimation(VitPoseConfig(backbone_config=backbone, num_labels=17)).save_pretrained(folder)
    VitPoseImageProcessor(size={"height": 64, "width": 48}).save_pretrained(folder)
