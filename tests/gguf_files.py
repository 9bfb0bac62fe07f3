"""Tiny GGUF files as llama.cpp writes them: a Llama with a byte-level vocabulary."""

from pathlib import Path

import numpy as np
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import LlamaForCausalLM

from tests.tiny_models import TEMPLATE, tiny_model

NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
TOKENS = [*sorted(ByteLevel.alphabet()), "he", "<s>", "</s>"]


def tiny_llama(seed: int = 0) -> LlamaForCausalLM:
    return tiny_model(
        "llama",
        seed=seed,
        intermediate_size=64,
        **{"vocab_size": len(TOKENS), "bos_token_id": 257, "eos_token_id": 258},
    )


def write_gguf(path: Path, model: LlamaForCausalLM, *, kind: str = "F32", family="llama") -> Path:
    """Write a Llama, its linear layers in the given type, the others in float32."""
    import gguf

    config, quantised = model.config, gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(path, family)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([1] * (len(TOKENS) - 2) + [3, 3])
    writer.add_token_merges(["h e"])
    writer.add_bos_token_id(257)
    writer.add_eos_token_id(258)
    writer.add_chat_template(TEMPLATE)
    for name, tensor in model.state_dict().items():
        values = permuted(name, tensor, config).numpy().astype(np.float32)
        if values.ndim == 2 and kind != "F32" and "proj" in name:
            values = gguf.quants.quantize(values, quantised)
            writer.add_tensor(gguf_name(name), values, raw_dtype=quantised)
        else:
            writer.add_tensor(gguf_name(name), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_name(name: str) -> str:
    stem, suffix = name.rsplit(".", 1)
    if stem in TOP:
        return f"{TOP[stem]}.{suffix}"
    _, _, block, part = stem.split(".", 3)
    return f"blk.{block}.{NAMES[part]}.{suffix}"


def permuted(name: str, tensor: torch.Tensor, config) -> torch.Tensor:
    """Rows of queries and keys in the order that llama.cpp rotates them in."""
    heads = {
        "q_proj": config.num_attention_heads,
        "k_proj": config.num_key_value_heads,
    }.get(name.split(".")[-2])
    if heads is None:
        return tensor
    rows, columns = tensor.shape
    return tensor.view(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
