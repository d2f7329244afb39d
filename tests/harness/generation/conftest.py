from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """Folders of random weights: sd, adapter-keypose, control, control-fresh, vitpose."""
    import tiny_diffusion as tiny

    root = tmp_path_factory.mktemp("weights")
    unet = tiny.write_stable_diffusion(root / "sd")
    tiny.write_adapter(root / "adapter-keypose")
    tiny.write_controlnet(root / "control", unet, moved=True)
    tiny.write_controlnet(root / "control-fresh", unet)
    tiny.write_vitpose(root / "vitpose")
    return root
