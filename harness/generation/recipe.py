"""How images are generated: the settings of a backend, checked before anything is loaded. No torch here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from hcbench.errors import ConfigError, did_you_mean, nearest_size
from hcbench.harness.generation.conditions import STYLES

RENDERER, SD, ADAPTER, CONTROLNET = "renderer", "sd", "t2i-adapter", "controlnet"
BACKENDS: Final = (RENDERER, SD, ADAPTER, CONTROLNET)
PRECISIONS: Final = ("fp32", "fp16", "bf16")


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationRecipe:
    """Settings of a diffusion backend; what decides a pixel is here, in the weights or in the scenes.

    Attributes:
        backend: sd, t2i-adapter or controlnet.
        variants: Images per group, m; image `variant` of group `group` has the seed base + m * group + variant.
        seed: The base.
        steps: Sampling steps, DDIM with eta 0.
        guidance: Scale of classifier-free guidance; 1 turns it off.
        condition_scale: How strongly the skeleton counts.
        style: Drawing of the skeleton; empty without one.
        canvas: Height and width of generation.
        size: Height and width that images are saved at.
        batch: Images that are sampled together; another number changes pixels in the sixth digit.
        precision: fp32, fp16 or bf16.
        device: cpu or cuda.
    """

    backend: str
    variants: int
    seed: int
    steps: int
    guidance: float
    condition_scale: float
    style: str
    canvas: tuple[int, int]
    size: tuple[int, int]
    batch: int
    precision: str
    device: str

    def as_settings(self) -> dict[str, Any]:
        """Plain data, as json reads it back."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Published:
    """What a paper or its code used; the defaults of a backend. Files have half of the canvas's height and width."""

    variants: int
    guidance: float
    canvas: tuple[int, int]
    steps: int = 50


# StableRep: the published command (guidance 2.0, DDIM 50 steps, 10 images per caption, 512x512 saved at 256x256).
# GenPoCCL (saved at 256x128): five images per pose are published; canvas, sampler, steps and guidance are our choice
# (Stable Diffusion's own defaults).
DEFAULTS: Final = {
    SD: Published(10, 2.0, (512, 512)),
    ADAPTER: Published(5, 7.5, (512, 256)),
    CONTROLNET: Published(5, 7.5, (512, 256)),
}


def check_backend(name: str) -> str:
    """The backend's name.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in BACKENDS:
        raise ConfigError(f"No generator is called {name!r}.", did_you_mean(name, BACKENDS))
    return name


def check_sizes(canvas: tuple[int, int], size: tuple[int, int], factor: int) -> None:
    """Compare canvas, saved size and the VAE's factor; pipelines would cut a canvas that does not fit silently.

    Raises:
        ConfigError: They do not fit together.
    """
    step = max(8, factor)
    if canvas[0] % step or canvas[1] % step:
        nearest = nearest_size(canvas, (step, step))
        raise ConfigError(
            f"A canvas of {canvas[0]}x{canvas[1]} does not work: this pipeline needs multiples of {step}.",
            f"The nearest is --canvas {nearest}.",
        )
    if canvas[0] * size[1] != canvas[1] * size[0]:
        raise ConfigError(
            f"Images of {canvas[0]}x{canvas[1]} saved at {size[0]}x{size[1]} would be squeezed.",
            "Choose --size with the ratio of --canvas.",
        )


def skeleton_style(backend: str, style: str | None, weights: Path) -> str:
    """How the skeleton is drawn: in the requested style, else in the style that the weights were trained with.

    Raises:
        ConfigError: The drawing is unknown, or an adapter's folder does not tell which it was trained with.
    """
    if backend == SD:
        if style is not None:
            raise ConfigError(f"--style {style}: the backend sd follows no skeleton.", "Leave --style out.")
        return ""
    if style is not None:
        if style not in STYLES:
            raise ConfigError(f"No drawing of skeletons is called {style!r}.", did_you_mean(style, STYLES))
        return style
    if backend == CONTROLNET:
        return "controlnet"
    kinds = [kind for kind in ("openpose", "keypose") if kind in weights.name.lower()]
    if len(kinds) != 1:
        raise ConfigError(
            f"The folder {weights.name} does not tell which skeletons the adapter was trained with.",
            "Say --style t2i-keypose or --style t2i-openpose.",
        )
    return f"t2i-{kinds[0]}"


def device_and_precision(device: str | None, precision: str | None, *, cuda: bool) -> tuple[str, str]:
    """Where and how precisely to compute: fp16 on a GPU, fp32 elsewhere, unless asked otherwise.

    Raises:
        ConfigError: Something is unknown, there is no GPU, or half precision was asked for without one.
    """
    where = device or ("cuda" if cuda else "cpu")
    if where not in ("cpu", "cuda"):
        raise ConfigError(f"No device is called {where!r}.", did_you_mean(where, ("cpu", "cuda")))
    if where == "cuda" and not cuda:
        raise ConfigError("--device cuda: no GPU was found that torch can use.", "Leave --device out.")
    how = precision or ("fp16" if where == "cuda" else "fp32")
    if how not in PRECISIONS:
        raise ConfigError(f"No precision is called {how!r}.", did_you_mean(how, PRECISIONS))
    if where == "cpu" and how != "fp32":
        raise ConfigError(f"--precision {how} needs a GPU; on a processor it is slower than fp32.", "Use fp32.")
    return where, how
