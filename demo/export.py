"""Write a checkpoint as a GGUF file: `python export.py OUT/checkpoint.pt MODEL.gguf`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import tokenizer
import torch
from model import Shape
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


def write_sizes(writer: gguf.GGUFWriter, shape: Shape) -> None:
    """The model's sizes."""
    writer.add_name("MIRAGE demonstration model")
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


def write_tokenizer(writer: gguf.GGUFWriter) -> None:
    """The vocabulary and the chat template; the one merge is of two bytes no text contains."""
    symbols = tokenizer.byte_symbols()
    kinds = [gguf.TokenType.CONTROL] * len(tokenizer.CONTROL)
    kinds += [gguf.TokenType.USER_DEFINED] * len(tokenizer.FIXED)
    kinds += [gguf.TokenType.NORMAL] * 257
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokenizer.vocabulary())
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(symbols[byte] for byte in tokenizer.UNUSED_BYTES)])
    writer.add_eos_token_id(tokenizer.EOS_ID)
    writer.add_pad_token_id(tokenizer.PAD_ID)
    writer.add_add_bos_token(False)
    writer.add_chat_template(tokenizer.CHAT_TEMPLATE)


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


def export(checkpoint: Path, target: Path, small: bool) -> None:
    """Turn a checkpoint into a GGUF file."""
    state: dict[str, Any] = torch.load(checkpoint, map_location="cpu")
    shape = Shape(**state["shape"])
    writer = gguf.GGUFWriter(str(target), "llama")
    write_sizes(writer, shape)
    kind = gguf.LlamaFileType
    writer.add_file_type(kind.MOSTLY_Q8_0 if small else kind.MOSTLY_F16)
    write_tokenizer(writer)
    for name, weight in state["model"].items():
        if ".query." in name or ".key." in name:
            weight = interleaved(weight, shape)
        write_tensor(writer, gguf_name(name), weight, small)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


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
