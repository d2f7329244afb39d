"""Pose metrics under one name: COCO average precision, PCKh, PCK, heat maps, person boxes."""

from __future__ import annotations

from hcbench.benchmarks.metrics.boxes import box_affine, box_center_size, invert_affine
from hcbench.benchmarks.metrics.coco_files import coco_ground_truth, coco_results
from hcbench.benchmarks.metrics.heatmaps import decode_heatmaps, encode_heatmaps, heatmap_to_image
from hcbench.benchmarks.metrics.oks import OksMetrics, coco_oks
from hcbench.benchmarks.metrics.oks_nms import oks_nms
from hcbench.benchmarks.metrics.pck import PckhMetrics, PckMetrics, pck, pckh

__all__ = [
    "OksMetrics",
    "PckMetrics",
    "PckhMetrics",
    "box_affine",
    "box_center_size",
    "coco_ground_truth",
    "coco_oks",
    "coco_results",
    "decode_heatmaps",
    "encode_heatmaps",
    "heatmap_to_image",
    "invert_affine",
    "oks_nms",
    "pck",
    "pckh",
]
