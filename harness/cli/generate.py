"""`hcbench generate`, before the user's eyes: checks first, then the work, then what came of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from hcbench.errors import ConfigError
from hcbench.harness.cli.generate_options import GenerateOptions
from hcbench.harness.cli.options import parse_size
from hcbench.harness.cli.progress import clock
from hcbench.harness.cli.progress_bar import bar
from hcbench.harness.generation import recipe as recipes
from hcbench.harness.generation.job import LEDGER, JobResult, Maker, Progress, run_job
from hcbench.harness.generation.recipe import ADAPTER, CONTROLNET, DEFAULTS, RENDERER, SD, GenerationRecipe
from hcbench.harness.jobs.atomic_files import read_json, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from hcbench.harness.generation.scenes import Scene
    from hcbench.harness.generation.weights import Models

logger = logging.getLogger("hcbench.generate")

RENDERED_GROUPS: Final = 64
_ANYONE: Final = frozenset(
    {"backend", "out", "groups", "variants", "seed", "size", "structure", "pose_model", "dry_run"}
)
_DIFFUSION: Final = frozenset({"captions", "split", "model", "steps", "guidance", "canvas", "batch", "precision",
                               "device"})  # fmt: skip
_POSED: Final = frozenset({"poses", "condition_scale", "style"})
_USED: Final = {
    RENDERER: _ANYONE | {"layout"},
    SD: (_ANYONE | _DIFFUSION) - {"structure", "pose_model"},
    ADAPTER: _ANYONE | _DIFFUSION | _POSED | {"adapter"},
    CONTROLNET: _ANYONE | _DIFFUSION | _POSED | {"controlnet"},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationJob:
    """Work that was checked and may begin.

    Attributes:
        title: What will be made, for people.
        settings: What decides the bytes.
        images: Images of every unit.
        open_maker: Loads the generator.
        facts: What the ledger tells beside the cost.
    """

    title: str
    settings: Mapping[str, Any]
    images: Sequence[int]
    open_maker: Callable[[], Maker]
    facts: Mapping[str, Any]


def run_generate(console: Console, options: GenerateOptions) -> None:
    """Generate what was asked for, or go on with it.

    Raises:
        HcbenchError: Something that the user can mend; see the modules of this package.
    """
    # Before torch starts: spinning threads are slow beside others, and nothing is ever downloaded.
    os.environ.update(OMP_WAIT_POLICY="PASSIVE", KMP_BLOCKTIME="0", HF_HUB_OFFLINE="1")
    backend = recipes.check_backend(options.backend)
    _check_used(options)
    job = renderer_job(options) if backend == RENDERER else diffusion_job(options)
    console.print(job.title)
    if options.dry_run:
        console.print("Nothing was made (--dry-run).")
        return
    with bar(console, "generating") as tell:
        outcome = run_job(
            options.out, job.settings, job.open_maker, job.images, job.facts,
            lambda progress: tell(progress.done, progress.total, _speed(progress)),
        )  # fmt: skip
    for line in _told(outcome):
        console.print(line, soft_wrap=True)
    _afterwards(console, options, outcome)


def renderer_job(options: GenerateOptions) -> GenerationJob:
    """The embedded people as a manifest.

    Raises:
        ConfigError: A setting does not suit the renderer.
        BudgetError: There are fewer groups.
    """
    from hcbench.data.budget import draw_groups
    from hcbench.data.people.spec import GROUP_SIZE, REFERENCE_GROUPS, PeopleSpec
    from hcbench.harness.generation.renderer import RendererMaker, renderer_settings, units_of

    if options.variants not in (None, GROUP_SIZE):
        raise ConfigError(
            f"--variants {options.variants}: the renderer makes {GROUP_SIZE} images of every group.",
            "Leave --variants out.",
        )
    height, width = parse_size(options.size or "128x64", "--size")
    spec = PeopleSpec(layout=options.layout or "poses", height=height, width=width)
    groups = draw_groups(options.seed, REFERENCE_GROUPS, options.groups or RENDERED_GROUPS, corpus="people")
    return GenerationJob(
        title=f"{len(groups):,} groups ({spec.layout}) x {GROUP_SIZE} images of {height}x{width}, rendered",
        settings=renderer_settings(spec, groups, options.seed),
        images=units_of(groups),
        open_maker=lambda: RendererMaker(spec, groups),
        facts={"backend": RENDERER},
    )


def diffusion_job(options: GenerateOptions) -> GenerationJob:
    """Images of a diffusion pipeline, with everything checked that needs no torch.

    Raises:
        ConfigError: A setting is missing, wrong, or contradicts another.
        WeightsError: Weights are missing or do not fit together.
        DataError: Poses or captions are missing or not as they should be.
    """
    from hcbench.harness.generation.diffusion import DiffusionMaker, diffusion_settings, units_of
    from hcbench.harness.generation.weights import look_at

    extra = {SD: None, ADAPTER: options.adapter, CONTROLNET: options.controlnet}[options.backend]
    models = look_at(options.backend, options.model, extra)
    recipe = _recipe(options, models)
    scenes, facts = _scenes(options, recipe)

    def open_maker() -> Maker:
        from hcbench.harness.generation.backends import Diffusion

        backend = Diffusion(recipe, models)
        logger.info("the pipeline was loaded in %.1f s", backend.loading_s)
        return DiffusionMaker(scenes, recipe, models, backend)

    images = units_of(scenes, recipe)
    sizes = " saved at ".join(dict.fromkeys(f"{height}x{width}" for height, width in (recipe.canvas, recipe.size)))
    return GenerationJob(
        title=f"{len(scenes):,} {'captions' if recipe.backend == SD else 'poses'} x {recipe.variants} images of {sizes}"
        f" by {' + '.join(models.ids.values())}, {recipe.steps} steps, {recipe.precision} on {recipe.device}",
        settings=diffusion_settings(scenes, recipe, models),
        images=images,
        open_maker=open_maker,
        facts={
            "backend": recipe.backend,
            "models": dict(models.ids),
            "steps": recipe.steps,
            "guidance": recipe.guidance,
            "precision": recipe.precision,
            "device": recipe.device,
            "batch": recipe.batch,
            **facts,
        },
    )


def _recipe(options: GenerateOptions, models: Models) -> GenerationRecipe:
    from hcbench.harness.planning.machine import look

    default = DEFAULTS[options.backend]
    canvas = parse_size(options.canvas, "--canvas") if options.canvas else default.canvas
    half = (canvas[0] // 2, canvas[1] // 2)
    size = parse_size(options.size, "--size") if options.size else half
    recipes.check_sizes(canvas, size, models.factor)
    device, precision = recipes.device_and_precision(options.device, options.precision, cuda=look().cuda)
    variants = options.variants or default.variants
    return GenerationRecipe(
        backend=options.backend, variants=variants, seed=options.seed, steps=options.steps or default.steps,
        guidance=default.guidance if options.guidance is None else options.guidance,
        condition_scale=1.0 if options.condition_scale is None else options.condition_scale,
        style=recipes.skeleton_style(options.backend, options.style, models.extra or models.base),
        canvas=canvas, size=size, batch=options.batch or variants, precision=precision, device=device,
    )  # fmt: skip


def _scenes(options: GenerateOptions, recipe: GenerationRecipe) -> tuple[list[Scene], dict[str, Any]]:
    """One scene per group, and what the ledger tells of them."""
    from hcbench.harness.generation.scenes import read_poses, read_prompts, with_prompts

    if recipe.backend == SD:
        if options.captions is None:
            raise ConfigError(
                "--captions was not given; the backend sd makes images of captions.",
                "Give a text file with one caption per line, COCO's caption json or folder, or a manifest.",
            )
        scenes, rejected = read_prompts(options.captions.expanduser(), options.split), None
    else:
        if options.poses is None:
            raise ConfigError(
                f"--poses was not given; the backend {recipe.backend} makes images of poses.",
                "Give a COCO folder, its person_keypoints json, or a manifest (.parquet) that knows keypoints.",
            )
        scenes, rejected = read_poses(options.poses.expanduser(), options.split, recipe.canvas)
        if options.captions is not None:
            scenes = with_prompts(scenes, options.captions.expanduser())
    if scenes[0].dataset == "coco/val2017":
        logger.warning("Poses of val2017 are what models are scored on; do not score models of these images there.")
    if options.groups is not None and options.groups > len(scenes):
        raise ConfigError(
            f"--groups {options.groups}: there are {len(scenes)} usable ones.", "Ask for fewer, or leave --groups out."
        )
    scenes = scenes[: options.groups]
    without = sum(not scene.own_caption for scene in scenes)
    if without:
        logger.warning(
            "%d of %d poses have no caption that mentions a person; their prompt is a stand-in.", without, len(scenes)
        )
    facts: dict[str, Any] = {"captions_missing": without}
    return scenes, facts if rejected is None else facts | {"poses_rejected": dict(rejected)}


def _check_used(options: GenerateOptions) -> None:
    """Raise for options that the backend would not look at."""
    used = _USED[options.backend]
    idle = [
        item.name
        for item in fields(GenerateOptions)
        if item.name not in used and getattr(options, item.name) != item.default
    ]
    if idle:
        names = ", ".join("--" + name.replace("_", "-") for name in idle)
        takers = [backend for backend, options in _USED.items() if set(idle) <= options]
        raise ConfigError(
            f"The backend {options.backend} does not use {names}.",
            f"Leave it out{f', or take --backend {takers[0]}' if takers else ''}.",
        )


def _afterwards(console: Console, options: GenerateOptions, outcome: JobResult) -> None:
    from hcbench.harness.generation.quality import VitPose, condition_pck, contact_sheet

    if options.structure:
        from hcbench.harness.generation.structure import write_structure

        with bar(console, "structure maps") as tell:
            target = write_structure(options.out, lambda done, total: tell(done, total, ""))
        console.print(f"Structure maps: {target}  (--set gan-invariance.structure=rendered:{target})", soft_wrap=True)
    if options.pose_model is not None:
        scores = condition_pck(options.out, VitPose(options.pose_model))
        write_json(options.out / LEDGER, read_json(options.out / LEDGER) | {"condition": scores})
        told = ", ".join(f"{name.replace('pck_', 'PCK@')} {value:.3f}" for name, value in scores.items())
        console.print(f"Pose asked for, found again on the pictures: {told}")
    if outcome.ledger["images"]:
        console.print(f"Contact sheet: {contact_sheet(options.out)}", soft_wrap=True)


def _told(outcome: JobResult) -> Iterator[str]:
    """What came of it, a line each."""
    ledger = outcome.ledger
    before = f", {outcome.skipped:,} of them were there before" if outcome.skipped else ""
    yield f"{ledger['images']:,} images in {ledger['groups']:,} groups{before}: {outcome.manifest}"
    for key, what in (("poses_rejected", "poses"), ("images_rejected", "images")):
        if ledger.get(key):
            told = ", ".join(f"{count:,} x {reason}" for reason, count in sorted(ledger[key].items()))
            yield f"Left out {what}: {told}"
    flops = f", {ledger['flops_per_image']:.3g} FLOPs per image" if ledger["flops_per_image"] else ""
    yield f"Cost: {clock(ledger['generator_s'])} ({ledger['images_per_s']:.3g} images/s{flops})"


def _speed(progress: Progress) -> str:
    if not progress.seconds:
        return ""
    rate = progress.made / progress.seconds
    return f"{rate:.3g} images/s, {clock((progress.total - progress.done) / rate)} left"
