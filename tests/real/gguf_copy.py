"""The tiny checkpoints once more, as the GGUF files that llama.cpp loads: the same weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file

from .checkpoints import TEMPLATE

Weights = dict[str, Any]
BLOCK = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
EYE = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_out": "self_attn.out_proj",
    "ln1": "layer_norm1",
    "ln2": "layer_norm2",
    "ffn_up": "mlp.fc1",
    "ffn_down": "mlp.fc2",
}


def write_language_model(folder: Path, target: Path) -> Path:
    """The language model of a Llama, or of a LLaVA."""
    config = json.loads((folder / "config.json").read_text())
    config = config.get("text_config", config)
    weights = load_file(folder / "model.safetensors")
    writer = gguf.GGUFWriter(str(target), "llama")
    _sizes(writer, config)
    _vocabulary(writer, json.loads((folder / "tokenizer.json").read_text()), config["vocab_size"])
    inner = next(k for k in weights if k.endswith("embed_tokens.weight"))
    inner = inner.removesuffix("embed_tokens.weight")
    head = next(k for k in weights if k.endswith("lm_head.weight"))
    writer.add_tensor("token_embd.weight", weights[f"{inner}embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", weights[f"{inner}norm.weight"])
    writer.add_tensor("output.weight", weights[head])
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    for layer in range(config["num_hidden_layers"]):
        for name, theirs in BLOCK.items():
            weight = weights[f"{inner}layers.{layer}.{theirs}.weight"]
            if name in heads:
                weight = turned(weight, heads[name])
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ascontiguousarray(weight))
    _finish(writer)
    return target


def write_eyes(folder: Path, target: Path) -> Path:
    """The vision tower and the projector of a LLaVA with a SigLIP tower."""
    config = json.loads((folder / "config.json").read_text())
    vision, width = config["vision_config"], config["text_config"]["hidden_size"]
    weights = load_file(folder / "model.safetensors")
    writer = gguf.GGUFWriter(str(target), "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_bool("clip.has_text_encoder", False)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", True)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    sizes = {
        "image_size": vision["image_size"],
        "patch_size": vision["patch_size"],
        "embedding_length": vision["hidden_size"],
        "feed_forward_length": vision["intermediate_size"],
        "projection_dim": width,
        "block_count": vision["num_hidden_layers"],
        "attention.head_count": vision["num_attention_heads"],
    }
    for key, size in sizes.items():
        writer.add_uint32(f"clip.vision.{key}", size)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", vision["layer_norm_eps"])
    writer.add_array("clip.vision.image_mean", [0.5] * 3)
    writer.add_array("clip.vision.image_std", [0.5] * 3)
    # without it, llama.cpp leaves the last block out
    writer.add_array("clip.vision.feature_layer", [vision["num_hidden_layers"]])
    names = {"patch_embedding": "v.patch_embd", "position_embedding": "v.position_embd"}
    names |= {"linear_1": "mm.0", "linear_2": "mm.2"}
    for layer in range(vision["num_hidden_layers"]):
        names |= {
            f"layers.{layer}.{theirs}": f"v.blk.{layer}.{ours}" for ours, theirs in EYE.items()
        }
    for key, weight in weights.items():
        stem, _, kind = key.rpartition(".")
        ours = next((new for old, new in names.items() if stem.endswith(f".{old}")), None)
        if ours and ("vision" in key or "projector" in key):
            writer.add_tensor(f"{ours}.{kind}", np.ascontiguousarray(weight))
    _finish(writer)
    return target


def turned(weight: Any, heads: int) -> Any:
    """Rows in the order of interleaved rotary embeddings; transformers has the halves apart."""
    rows, *rest = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, *rest).swapaxes(1, 2).reshape(weight.shape)


def _sizes(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_name("tiny")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def _vocabulary(writer: gguf.GGUFWriter, described: dict[str, Any], size: int) -> None:
    added = {token["content"]: token["id"] for token in described["added_tokens"]}
    names = {number: name for name, number in {**described["model"]["vocab"], **added}.items()}
    kinds = [
        gguf.TokenType.CONTROL if i in added.values() else gguf.TokenType.NORMAL
        for i in range(size)
    ]
    merges = described["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([names[i] for i in range(size)])
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_eos_token_id(added["<|im_end|>"])
    writer.add_pad_token_id(added["<|pad|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
