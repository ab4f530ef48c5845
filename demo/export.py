"""Write a checkpoint as a GGUF file: `python export.py OUT/checkpoint.pt MODEL.gguf`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import tokenizer
import torch
from model import Shape
from pieces import CHAT_TEMPLATE, CONTROL, EOS, PAD, UNUSED_BYTES, Pieces, byte_symbols
from torch import Tensor

NAMES = {
    "attention_norm": "attn_norm",
    "feed_forward_norm": "ffn_norm",
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "output": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}
OUTER_NAMES = {
    "embedding.weight": "token_embd.weight",
    "norm.weight": "output_norm.weight",
    "scores.weight": "output.weight",
}


@dataclass(frozen=True)
class Model:
    """All that a GGUF file holds of a Llama."""

    name: str
    shape: Shape
    tokens: Pieces
    weights: dict[str, Tensor]


def gguf_name(name: str) -> str:
    """What llama.cpp calls a parameter of the model."""
    if name in OUTER_NAMES:
        return OUTER_NAMES[name]
    _, number, part, _ = name.split(".")
    return f"blk.{number}.{NAMES[part]}.weight"


def interleaved(weight: Tensor, shape: Shape) -> Tensor:
    """Reorder rows from the rotate-half layout to llama.cpp's neighbouring pairs."""
    rows = weight.reshape(shape.heads, 2, shape.head // 2, shape.hidden)
    return rows.transpose(1, 2).reshape(weight.shape)


def write_sizes(writer: gguf.GGUFWriter, shape: Shape, name: str) -> None:
    """The model's name and sizes."""
    writer.add_name(name)
    writer.add_license("apache-2.0")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocabulary)


def write_tokenizer(writer: gguf.GGUFWriter, tokens: Pieces) -> None:
    """The vocabulary and the chat template; the one merge is of two bytes no text contains."""
    symbols = byte_symbols()
    kinds = [gguf.TokenType.CONTROL] * len(CONTROL)
    kinds += [gguf.TokenType.USER_DEFINED] * len(tokens.fixed)
    kinds += [gguf.TokenType.NORMAL] * 257
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens.vocabulary())
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(symbols[byte] for byte in UNUSED_BYTES)])
    writer.add_eos_token_id(CONTROL.index(EOS))
    writer.add_pad_token_id(CONTROL.index(PAD))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def write_tensor(writer: gguf.GGUFWriter, name: str, weight: Tensor, small: bool) -> None:
    """One tensor: vectors in full, matrices in f16 or q8_0."""
    values = np.ascontiguousarray(weight.float().numpy())
    if values.ndim == 1:
        writer.add_tensor(name, values)
    elif small:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    else:
        writer.add_tensor(name, values.astype(np.float16))


def write_language_model(target: Path, model: Model, small: bool) -> None:
    """A Llama as a GGUF file."""
    writer = gguf.GGUFWriter(str(target), "llama")
    write_sizes(writer, model.shape, model.name)
    kind = gguf.LlamaFileType
    writer.add_file_type(kind.MOSTLY_Q8_0 if small else kind.MOSTLY_F16)
    write_tokenizer(writer, model.tokens)
    for part, weight in model.weights.items():
        if ".query." in part or ".key." in part:
            weight = interleaved(weight, model.shape)
        write_tensor(writer, gguf_name(part), weight, small)
    finish(writer)


def finish(writer: gguf.GGUFWriter) -> None:
    """Write all that was added."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def export(checkpoint: Path, target: Path, small: bool) -> None:
    """Turn a checkpoint into a GGUF file."""
    state: dict[str, Any] = torch.load(checkpoint, map_location="cpu")
    shape = Shape(**state["shape"])
    model = Model("MIRAGE demonstration model", shape, tokenizer.TOKENS, state["model"])
    write_language_model(target, model, small)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--q8", action="store_true", help="q8_0 weights instead of f16")
    args = parser.parse_args()
    export(args.checkpoint, args.target, args.q8)
    print(f"{args.target}: {args.target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
