"""The options of `hcbench generate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

_WHAT, _WEIGHTS, _HOW, _AFTER = "What is generated", "Weights on this machine", "How it is generated", "Afterwards"


@dataclass(frozen=True)
class GenerateOptions:
    """What the user asked for, as written on the command line; None takes the backend's default."""

    backend: Annotated[
        str, typer.Option("--backend", metavar="NAME", rich_help_panel=_WHAT,
                          help="renderer (the embedded people, no weights), sd (Stable Diffusion from captions),"
                          " t2i-adapter or controlnet (from poses and captions)."),
    ] = "renderer"  # fmt: skip
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", rich_help_panel=_WHAT,
                           help="Folder for images, manifest and ledger. Give the same one to go on."),
    ] = Path("generated")  # fmt: skip
    poses: Annotated[
        Path | None, typer.Option("--poses", metavar="SOURCE", rich_help_panel=_WHAT,
                                  help="Where poses come from: a COCO folder, a COCO keypoint json, or a manifest"
                                  " (.parquet) that knows keypoints."),
    ] = None  # fmt: skip
    captions: Annotated[
        Path | None, typer.Option("--captions", metavar="SOURCE", rich_help_panel=_WHAT,
                                  help="Where prompts come from: a text file (a caption per line, dealt to poses in"
                                  " turn), COCO's caption json; for sd also a COCO folder or a manifest. Default: the"
                                  " captions of --poses."),
    ] = None  # fmt: skip
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", rich_help_panel=_WHAT,
                                 help="Split of COCO. Default: the one that a json's name tells, train2017 of a folder."
                                 " Persons of val2017 are what models are scored on: keep them out."),
    ] = None  # fmt: skip
    layout: Annotated[
        str | None, typer.Option("--layout", metavar="NAME", rich_help_panel=_WHAT,
                                 help="renderer: what a group holds fixed: poses, captions or identities."
                                 " Default: poses."),
    ] = None  # fmt: skip
    groups: Annotated[
        int | None, typer.Option("--groups", min=1, metavar="N", rich_help_panel=_WHAT,
                                 help="Only the first N poses or captions. Default: all; renderer: 64."),
    ] = None  # fmt: skip
    variants: Annotated[
        int | None, typer.Option("--variants", min=1, metavar="M", rich_help_panel=_WHAT,
                                 help="Images per group. Default: 5; sd: 10."),
    ] = None  # fmt: skip
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", rich_help_panel=_WHAT,
                          help="Base of the seeds: image k of group g has the seed N + M g + k. renderer: draws the"
                          " groups, as `run --seeds N` does."),
    ] = 0  # fmt: skip
    model: Annotated[
        Path | None, typer.Option("--model", metavar="DIR", rich_help_panel=_WEIGHTS,
                                  help="Stable Diffusion 1.x in diffusers' layout."),
    ] = None  # fmt: skip
    adapter: Annotated[
        Path | None, typer.Option("--adapter", metavar="DIR", rich_help_panel=_WEIGHTS,
                                  help="t2i-adapter: a T2I-Adapter for openpose or keypose."),
    ] = None  # fmt: skip
    controlnet: Annotated[
        Path | None, typer.Option("--controlnet", metavar="DIR", rich_help_panel=_WEIGHTS,
                                  help="controlnet: a ControlNet for openpose."),
    ] = None  # fmt: skip
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, metavar="N", rich_help_panel=_HOW,
                                 help="Sampling steps (DDIM). Default: 50."),
    ] = None  # fmt: skip
    guidance: Annotated[
        float | None, typer.Option("--guidance", min=1.0, metavar="X", rich_help_panel=_HOW,
                                   help="Weight of the prompt. Default: 7.5; sd: 2, StableRep's."),
    ] = None  # fmt: skip
    condition_scale: Annotated[
        float | None, typer.Option("--condition-scale", min=0.0, metavar="X", rich_help_panel=_HOW,
                                   help="Weight of the skeleton. Default: 1."),
    ] = None  # fmt: skip
    style: Annotated[
        str | None, typer.Option("--style", metavar="NAME", rich_help_panel=_HOW,
                                 help="Drawing of the skeleton: controlnet, t2i-openpose or t2i-keypose. Default: what"
                                 " the weights were trained with."),
    ] = None  # fmt: skip
    canvas: Annotated[
        str | None, typer.Option("--canvas", metavar="HxW", rich_help_panel=_HOW,
                                 help="Size of generation. Default: 512x256; sd: 512x512."),
    ] = None  # fmt: skip
    size: Annotated[
        str | None, typer.Option("--size", metavar="HxW", rich_help_panel=_HOW,
                                 help="Size of the files. Default: 256x128; sd: 256x256; renderer: 128x64."),
    ] = None  # fmt: skip
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, metavar="N", rich_help_panel=_HOW,
                                 help="Images sampled together. Default: one group."),
    ] = None  # fmt: skip
    precision: Annotated[
        str | None, typer.Option("--precision", metavar="NAME", rich_help_panel=_HOW,
                                 help="fp32, fp16 or bf16; the latter two on a GPU alone. Default: fp16 on a GPU."),
    ] = None  # fmt: skip
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME", rich_help_panel=_HOW,
                                 help="cpu or cuda. Default: cuda where there is a GPU."),
    ] = None  # fmt: skip
    structure: Annotated[
        bool, typer.Option("--structure", rich_help_panel=_AFTER,
                           help="Also write structure maps for gan-invariance, into OUT/structure."),
    ] = False  # fmt: skip
    pose_model: Annotated[
        Path | None, typer.Option("--pose-model", metavar="DIR", rich_help_panel=_AFTER,
                                  help="A ViTPose folder (transformers): measure how often the pose that was asked for"
                                  " is found on the picture (PCK)."),
    ] = None  # fmt: skip
    dry_run: Annotated[
        bool, typer.Option("--dry-run", rich_help_panel=_HOW, help="Only check everything and say what would be made.")
    ] = False  # fmt: skip
