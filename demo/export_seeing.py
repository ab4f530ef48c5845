"""Write a checkpoint as two GGUF files: `python export_seeing.py OUT/checkpoint.pt FOLDER`.

FOLDER gets seeing.gguf, the language model, and seeing-mmproj.gguf, the eyes and the projector.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from captions import TOKENS
from drawings import SIDE
from export import Model, finish, write_language_model
from model import Shape
from padding import PATCH
from seeing import EyeShape
from torch import Tensor

NAME = "MIRAGE demonstration model that sees"


def write_sizes(writer: gguf.GGUFWriter, shape: EyeShape, language: Shape) -> None:
    """All that llama.cpp asks about the eyes."""
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_bool("clip.has_text_encoder", False)
    writer.add_string("clip.projector_type", "mlp")
    sizes = {
        "image_size": SIDE,
        "patch_size": PATCH,
        "embedding_length": shape.hidden,
        "feed_forward_length": shape.feed_forward,
        "projection_dim": language.hidden,
        "block_count": shape.layers,
        "attention.head_count": shape.heads,
    }
    for key, value in sizes.items():
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", shape.epsilon)
    writer.add_array("clip.vision.image_mean", [0.5] * 3)
    writer.add_array("clip.vision.image_std", [0.5] * 3)
    writer.add_bool("clip.use_gelu", True)
    # without this llama.cpp reads the states before the last block
    writer.add_array("clip.vision.feature_layer", [shape.layers])


def clip_name(name: str) -> str | None:
    """What llama.cpp calls a parameter of the eyes or the projector; None for all others."""
    name = name.replace("inner.", "mm.0.").replace("outer.", "mm.2.")
    if name.startswith("mm."):
        return name
    if name == "eyes.position":
        return "v.position_embd.weight"
    if name.startswith("eyes.patch."):
        return name.replace("eyes.patch.", "v.patch_embd.")
    return name.replace("eyes.blocks.", "v.blk.") if name.startswith("eyes.") else None


def write_eyes(target: Path, shapes: tuple[EyeShape, Shape], weights: dict[str, Tensor]) -> None:
    """The eyes and the projector: matrices in f16, the rest in full."""
    writer = gguf.GGUFWriter(str(target), "clip")
    writer.add_name(NAME)
    writer.add_license("apache-2.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    write_sizes(writer, *shapes)
    for part, weight in weights.items():
        name = clip_name(part)
        if name is None:
            continue
        if name == "v.patch_embd.weight":
            weight = weight.reshape(-1, 3, PATCH, PATCH)
        small = weight.ndim > 1 and name != "v.position_embd.weight"
        values = np.ascontiguousarray(weight.float().numpy())
        writer.add_tensor(name, values.astype(np.float16) if small else values)
    finish(writer)


def export(checkpoint: Path, folder: Path) -> list[Path]:
    """Turn a checkpoint into the two files."""
    state: dict[str, Any] = torch.load(checkpoint, map_location="cpu")
    eyes, language = EyeShape(**state["shapes"][0]), Shape(**state["shapes"][1])
    weights: dict[str, Tensor] = state["model"]
    start = "language."
    words = {name[len(start) :]: w for name, w in weights.items() if name.startswith(start)}
    files = [folder / "seeing.gguf", folder / "seeing-mmproj.gguf"]
    write_language_model(files[0], Model(NAME, language, TOKENS, words), small=False)
    write_eyes(files[1], (eyes, language), weights)
    return files


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for file in export(args.checkpoint, args.folder):
        print(f"{file}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
