"""Folders of a model as they lie around: what tools, Hubs and trainers make of the tiny Llama."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Change = Callable[[Path], None]


@dataclass(frozen=True)
class Layout:
    """A change of a folder that holds the tiny Llama, and what should come of it.

    Attributes:
        name: of the layout.
        change: makes it.
        refused: a part of the error; None: it loads, and computes as the model did before.
        settings: of the configuration, by dotted key.
        same: whether it computes the same numbers; some keep fewer bits.
    """

    name: str
    change: Change
    refused: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    same: bool = True

    def __str__(self) -> str:
        return self.name


def edit(folder: Path, name: str = "config.json", **values: Any) -> None:
    """Change fields of a JSON file; None takes one out."""
    path = folder / name
    found = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The weights, without the file that they are mapped from."""
    return {k: v.clone() for k, v in load_file(folder / "model.safetensors").items()}


def write(folder: Path, values: dict[str, torch.Tensor], name: str = "model.safetensors") -> None:
    """Write weights."""
    save_file({k: v.contiguous() for k, v in values.items()}, folder / name, {"format": "pt"})


def renamed(rename: Callable[[str], str]) -> Change:
    def change(folder: Path) -> None:
        write(folder, {rename(name): value for name, value in tensors(folder).items()})

    return change


def changed(**values: Any) -> Change:
    def change(folder: Path) -> None:
        edit(folder, **values)

    return change


def _touch(*names: str) -> Change:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"not opened")

    return change


def _without(*names: str) -> Change:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def _all(*changes: Change) -> Change:
    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change


def _instead(*names: str) -> Change:
    """Weights of other tools, and none of transformers'."""

    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        _touch(*names)(folder)

    return change


# Weights in parts.


def _shard(folder: Path) -> list[str]:
    """Cut the weights into three parts and an index."""
    values = tensors(folder)
    (folder / "model.safetensors").unlink()
    names, mapped = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)], {}
    for place, name in enumerate(names):
        part = dict(list(values.items())[place::3])
        write(folder, part, name)
        mapped |= dict.fromkeys(part, name)
    size = sum(value.nbytes for value in values.values())
    index = {"metadata": {"total_size": size}, "weight_map": mapped}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return names


def _reindexed(change: Callable[[dict[str, Any]], Any]) -> Change:
    def made(folder: Path) -> None:
        _shard(folder)
        path = folder / "model.safetensors.index.json"
        index = json.loads(path.read_text())
        change(index)
        path.write_text(json.dumps(index))

    return made


def _lost_part(folder: Path) -> None:
    (folder / _shard(folder)[1]).unlink()


def _cut_part(folder: Path) -> None:
    """A download that broke off."""
    part = folder / _shard(folder)[2]
    part.write_bytes(part.read_bytes()[:-100])


def _stray_part(folder: Path) -> None:
    """A part of another version, that no index names."""
    _shard(folder)
    write(folder, {"model.norm.weight": torch.zeros(32)}, "model-00004-of-00004.safetensors")


def _misplaced(index: dict[str, Any]) -> None:
    """The index has a tensor in the wrong part."""
    index["weight_map"]["model.norm.weight"] = "model-00001-of-00003.safetensors"


def _as_pickle(folder: Path) -> None:
    torch.save(tensors(folder), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _whole_and_stray_part(folder: Path) -> None:
    write(folder, {"model.norm.weight": torch.zeros(32)}, "model-00002-of-00009.safetensors")


# Tied weights.


def _head_too(folder: Path) -> None:
    values = tensors(folder)
    write(folder, values | {"lm_head.weight": values["model.embed_tokens.weight"].clone()})


def _head_only(folder: Path) -> None:
    values = tensors(folder)
    values["lm_head.weight"] = values.pop("model.embed_tokens.weight")
    write(folder, values)


def _tied_but_different(folder: Path) -> None:
    """The config says that the two are one, and the file has two."""
    values = tensors(folder)
    write(folder, values | {"lm_head.weight": values["model.embed_tokens.weight"] + 1})


# Missing and other tensors.


def _lost_tensor(folder: Path) -> None:
    values = tensors(folder)
    del values["model.layers.1.mlp.up_proj.weight"]
    write(folder, values)


def _narrow_tensor(folder: Path) -> None:
    values = tensors(folder)
    values["model.layers.1.mlp.up_proj.weight"] = torch.zeros(4, 4)
    write(folder, values)


def _more_tensors(folder: Path) -> None:
    """Buffers that older versions of transformers saved."""
    buffers = {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": torch.zeros(4) for n in range(2)}
    write(folder, tensors(folder) | buffers)


def _more_layers(folder: Path) -> None:
    """The file has a layer that the config does not know."""
    values = tensors(folder)
    third = {
        name.replace(".1.", ".2."): value.clone()
        for name, value in values.items()
        if "layers.1." in name
    }
    write(folder, values | third)


def _adapter_inside(folder: Path) -> None:
    """The state of a peft model, saved whole: names of the base with those of the adapter."""
    values = {f"base_model.model.{name}": value for name, value in tensors(folder).items()}
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    values[f"{name}.base_layer.weight"] = values.pop(f"{name}.weight")
    values[f"{name}.lora_A.default.weight"] = torch.zeros(4, 32)
    values[f"{name}.lora_B.default.weight"] = torch.zeros(32, 4)
    write(folder, values)


def _half_prefixed(folder: Path) -> None:
    values = tensors(folder)
    write(
        folder,
        {(f"module.{name}" if "layers.1" in name else name): v for name, v in values.items()},
    )


def _half(folder: Path) -> None:
    write(folder, {name: value.half() for name, value in tensors(folder).items()})
    edit(folder, dtype="float16")


# Caches, links.


def _hub_cache(folder: Path) -> None:
    """Each file is a link into a folder of contents, as in the cache of the Hub."""
    blobs = folder.with_name("blobs")
    blobs.mkdir()
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(blobs / str(number))
        file.symlink_to(os.path.relpath(blobs / str(number), folder))


def _dangling(folder: Path) -> None:
    """What the link led to was deleted to save space."""
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("../blobs/gone")


# Descriptions.


def _old_names(folder: Path) -> None:
    edit(folder, dtype=None, torch_dtype="float32", transformers_version="4.31.0")


def _remote_code(folder: Path) -> None:
    trap = folder / "modeling_own.py"
    trap.write_text(f"open({str(folder / 'it-ran')!r}, 'w').close()\n")
    auto = {
        "AutoConfig": "modeling_own.OwnConfig",
        "AutoModelForCausalLM": "modeling_own.OwnForCausalLM",
    }
    edit(folder, auto_map=auto, model_type="own", architectures=["OwnForCausalLM"])


def _remote_code_beside(folder: Path) -> None:
    """A known kind of model whose repository carries code of its own too."""
    trap = folder / "modeling_own.py"
    trap.write_text(f"open({str(folder / 'it-ran')!r}, 'w').close()\n")
    edit(folder, auto_map={"AutoModelForCausalLM": "modeling_own.OwnForCausalLM"})


def _remote_tokenizer(folder: Path) -> None:
    (folder / "tokenization_own.py").write_text(f"open({str(folder / 'it-ran')!r}, 'w').close()\n")
    edit(
        folder,
        "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]},
        tokenizer_class="OwnTokenizer",
    )
    (folder / "tokenizer.json").unlink()


def _bitsandbytes(bits: int) -> Change:
    def change(folder: Path) -> None:
        from transformers import AutoModelForCausalLM, BitsAndBytesConfig

        how = (
            BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
            if bits == 4
            else BitsAndBytesConfig(load_in_8bit=True)
        )
        model = AutoModelForCausalLM.from_pretrained(
            folder, quantization_config=how, device_map={"": "cpu"}, dtype=torch.float32
        )
        (folder / "model.safetensors").unlink()
        model.save_pretrained(folder)

    return change


def _gptq(folder: Path) -> None:
    _packed(folder, {"qweight": 8, "qzeros": 8, "scales": 1, "g_idx": 1})
    edit(folder, quantization_config={"quant_method": "gptq", "bits": 4, "group_size": 32})


def _awq(folder: Path) -> None:
    _packed(folder, {"qweight": 8, "qzeros": 8, "scales": 1})
    how = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True}
    edit(folder, quantization_config=how)


def _packed(folder: Path, parts: dict[str, int]) -> None:
    values = tensors(folder)
    for name in [name for name in values if "_proj." in name]:
        weight = values.pop(name)
        for part, factor in parts.items():
            size = max(1, weight.numel() // factor)
            values[name.replace("weight", part)] = torch.zeros(size, dtype=torch.int32)
    write(folder, values)


def _compressed(folder: Path) -> None:
    values = tensors(folder)
    for name in [name for name in values if "_proj." in name]:
        scale = name.replace("weight", "weight_scale")
        values[scale] = values[name].abs().amax(1, keepdim=True) / 448
        values[name] = (values[name] / values[scale]).to(torch.float8_e4m3fn)
    write(folder, values)
    weights = {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    how = {"quant_method": "compressed-tensors", "format": "float-quantized", "ignore": ["lm_head"]}
    edit(folder, quantization_config={**how, "config_groups": groups})


def _fp8(folder: Path) -> None:
    values = tensors(folder)
    for name in [name for name in values if "_proj." in name]:
        values[name.replace("weight", "weight_scale_inv")] = torch.ones(1, 1)
        values[name] = values[name].to(torch.float8_e4m3fn)
    write(folder, values)
    how = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    edit(folder, quantization_config=how)


def _float8_without_scales(folder: Path) -> None:
    write(folder, {n: v.to(torch.float8_e4m3fn) for n, v in tensors(folder).items()})


def _mlx(folder: Path) -> None:
    """MLX packs four-bit weights beside scales and biases, and names it with a key of its own."""
    values = tensors(folder)
    for name in [name for name in values if "_proj." in name]:
        rows, columns = values[name].shape
        values[name] = torch.zeros(rows, columns // 8, dtype=torch.int32)
        values[name.replace("weight", "scales")] = torch.ones(rows, 1)
        values[name.replace("weight", "biases")] = torch.zeros(rows, 1)
    write(folder, values)
    how = {"group_size": 32, "bits": 4}
    edit(folder, quantization=how, quantization_config=how)


# Tokenizers.


def _tokens(**values: Any) -> Change:
    def change(folder: Path) -> None:
        edit(folder, "tokenizer_config.json", **values)

    return change


def _special_map(folder: Path) -> None:
    """The old file beside."""
    (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": "<|im_end|>"}))


def _damaged(name: str, content: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).write_text(content)

    return change


def _padded_vocabulary(folder: Path) -> None:
    """Rows up to a round number, as most publishers do."""
    values = tensors(folder)
    table = values["model.embed_tokens.weight"]
    values["model.embed_tokens.weight"] = torch.cat([table, torch.zeros(64, 32)])
    write(folder, values)
    edit(folder, vocab_size=2112)


def _wrong_rows(folder: Path) -> None:
    """The config states more rows than the file has."""
    edit(folder, vocab_size=2112)


def _added_token(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["[DEPOT]"])
    tokenizer.save_pretrained(folder)


def _pickled_too(folder: Path) -> None:
    torch.save({"a": torch.zeros(1)}, folder / "pytorch_model.bin")


def _index_beside(name: str, shard: str) -> Change:
    def change(folder: Path) -> None:
        content = {"metadata": {"total_size": 1}, "weight_map": {"lm_head.weight": shard}}
        (folder / name).write_text(json.dumps(content))

    return change


def _moved(subfolder: str) -> Change:
    """The model lies one folder deeper."""

    def change(folder: Path) -> None:
        files = list(folder.iterdir())
        (folder / subfolder).mkdir()
        for file in files:
            shutil.move(file, folder / subfolder / file.name)

    return change


TRAINER = (
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "rng_state_0.pth",
    "scaler.pt",
    "training_args.bin",
    "trainer_state.json",
    "zero_to_fp32.py",
    "latest",
    "global_step500/mp_rank_00_model_states.pt",
    "global_step500/zero_pp_rank_0_mp_rank_00_optim_states.pt",
    "pytorch_model_fsdp_0/__0_0.distcp",
)

LAYOUTS = (
    # Other formats beside the usual file.
    Layout("plain", lambda folder: None),
    Layout("pickle beside", _pickled_too),
    Layout(
        "index of pickles beside",
        _index_beside("pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"),
    ),
    Layout(
        "other formats beside",
        _touch(
            "tf_model.h5",
            "flax_model.msgpack",
            "rust_model.ot",
            "model.onnx",
            "openvino_model.bin",
            "openvino_model.xml",
            "model-q4_k_m.gguf",
            "consolidated.safetensors",
            "consolidated.00.pth",
            "params.json",
            "original/consolidated.00.pth",
            "onnx/model.onnx",
            "model.fp16.safetensors",
            "README.md",
            ".gitattributes",
            ".DS_Store",
        ),
    ),
    Layout("checkpoint of a trainer", _touch(*TRAINER)),
    Layout("links of the Hub's cache", _hub_cache),
    Layout("a link to nothing", _dangling, refused="no safetensors weights|incomplete|link"),
    # Parts.
    Layout("parts", lambda folder: _shard(folder) and None),
    Layout("a part lost", _lost_part, refused="incomplete: model-00002-of-00003"),
    Layout("a part cut short", _cut_part, refused="model-00003-of-00003"),
    Layout("a stray part", _stray_part),
    Layout("a whole file and a stray part", _whole_and_stray_part),
    Layout(
        "an index that names a tensor too many",
        _reindexed(
            lambda index: index["weight_map"].update(
                {"model.ghost.weight": "model-00001-of-00003.safetensors"}
            )
        ),
    ),
    Layout(
        "an index that leaves a tensor out",
        _reindexed(lambda index: index["weight_map"].pop("model.norm.weight")),
    ),
    Layout("an index that has a tensor elsewhere", _reindexed(_misplaced)),
    Layout(
        "an index with a wrong size",
        _reindexed(lambda index: index["metadata"].update(total_size=1)),
    ),
    Layout(
        "an index without metadata", _reindexed(lambda index: index.pop("metadata")), "no metadata"
    ),
    Layout("an index of nothing", _reindexed(lambda index: index["weight_map"].clear()), "index"),
    # Tied weights.
    Layout("tied, stored twice", _head_too),
    Layout("tied, stored as the output layer", _head_only),
    Layout("tied by the config, different in the file", _tied_but_different, same=False),
    Layout("untied by the config, one missing", changed(tie_word_embeddings=False), "lm_head"),
    # Names and shapes of tensors.
    Layout("compiled", renamed(lambda name: f"_orig_mod.{name}")),
    Layout("in parallel", renamed(lambda name: f"module.{name}")),
    Layout("compiled in parallel", renamed(lambda name: f"module._orig_mod.{name}")),
    Layout("of Lightning", renamed(lambda name: f"model.{name}")),
    Layout("without its own prefix", renamed(lambda name: name.removeprefix("model."))),
    Layout("a peft model, saved whole", _adapter_inside, "adapter"),
    Layout("half of it prefixed", _half_prefixed, "module.model.layers.1"),
    Layout("a tensor lost", _lost_tensor, "up_proj"),
    Layout("a tensor of another shape", _narrow_tensor, "up_proj"),
    Layout("buffers of old versions", _more_tensors),
    Layout("more layers than the config says", _more_layers, "layers.2"),
    Layout("more rows in the config", _wrong_rows, "embed_tokens"),
    Layout("in float16", _half, same=False),
    # Other formats only.
    Layout("DeepSpeed", _instead("zero_to_fp32.py", "global_step5/bf16_zero.pt"), "zero_to_fp32"),
    Layout(
        "DeepSpeed with a pickle",
        _instead("zero_to_fp32.py", "pytorch_model.bin"),
        "model.allow_pickle=true",
    ),
    Layout("FSDP", _instead("pytorch_model_fsdp_0/__0_0.distcp"), "accelerate merge-weights"),
    Layout("Meta", _instead("consolidated.00.pth", "params.json"), "Meta's own format"),
    Layout("TensorFlow", _instead("tf_model.h5"), "another framework"),
    Layout("Flax", _instead("flax_model.msgpack"), "another framework"),
    Layout("Lightning", _instead("last.ckpt"), "a trainer's own"),
    Layout("GGUF", _instead("model-Q4_K_M.gguf"), "path of the .gguf file"),
    Layout("Mistral", _instead("consolidated.safetensors"), "a format that transformers does not"),
    # Pickles.
    Layout("a pickle", _as_pickle, "pickle"),
    Layout("a pickle, allowed", _as_pickle, settings={"model.allow_pickle": True}),
    # Descriptions.
    Layout("no generation config", _without("generation_config.json")),
    Layout("no architectures", changed(architectures=None)),
    Layout("architectures of the base model", changed(architectures=["LlamaModel"])),
    Layout("torch_dtype", _old_names),
    Layout("a dtype that is none", changed(dtype="float17"), "float17"),
    Layout("dtype auto", changed(dtype="auto"), "'auto'"),
    Layout("no model type", changed(model_type=None), "model_type|model type"),
    Layout("a model type of the future", changed(model_type="llama99"), "llama99"),
    Layout("config of unsloth", changed(unsloth_fixed=True, unsloth_version="2025.1")),
    Layout("a list as end", changed(eos_token_id=[2, 0])),
    Layout("no end in the config", changed(eos_token_id=None)),
    Layout("pad id −1", changed(pad_token_id=-1)),
    Layout("pad id beyond the rows", changed(pad_token_id=2048), "padding token has id 2048"),
    Layout("no pad id", changed(pad_token_id=None)),
    Layout("no config", _without("config.json"), "config.json"),
    Layout("a config cut short", _damaged("config.json", '{"model_type": "lla'), "config"),
    Layout("a config that is a list", _damaged("config.json", "[]"), "config"),
    Layout("a generation config cut short", _damaged("generation_config.json", "{"), "JSON"),
    Layout(
        "sampling settings that contradict",
        lambda folder: edit(
            folder, "generation_config.json", do_sample=False, temperature=0.6, top_p=0.9
        ),
    ),
    Layout("in a folder below", _moved("checkpoint-500"), "checkpoint-500"),
    # Code.
    Layout("code of its own", _remote_code, "code"),
    Layout("code beside a known kind", _remote_code_beside),
    Layout("a tokenizer of its own code", _remote_tokenizer, "code|tokenizer"),
    # Quantised.
    Layout("four bits", _bitsandbytes(4), same=False),
    Layout("eight bits", _bitsandbytes(8), same=False),
    Layout("gptq", _gptq, "gptq"),
    Layout("awq", _awq, "awq"),
    Layout("compressed tensors", _compressed, "compressed-tensors"),
    Layout("fp8", _fp8, same=False),
    Layout("float8 without scales", _float8_without_scales, same=False),
    Layout("mlx", _mlx, "quantization_config|quantised"),
    # Tokenizers.
    Layout(
        "no tokenizer",
        _without("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
        "tokenizer",
    ),
    Layout("settings without a tokenizer", _without("tokenizer.json"), "tokenizer"),
    Layout("a tokenizer cut short", _damaged("tokenizer.json", '{"version": "1.0"'), "tokenizer"),
    Layout("pad is end", _tokens(pad_token="<|im_end|>")),
    Layout("pad is unknown", _tokens(pad_token="<|endoftext|>", unk_token="<|endoftext|>")),
    Layout("no pad", _tokens(pad_token=None)),
    Layout("a pad that is no token", _tokens(pad_token="<pad-of-nobody>"), "pad-of-nobody"),
    Layout("an old map of special tokens", _special_map),
    Layout("a huge window", _tokens(model_max_length=1000000000000000019884624838656)),
    Layout("an unknown tokenizer class", _tokens(tokenizer_class="TokenizersBackendOfNobody")),
    Layout("padding on the left", _tokens(padding_side="left")),
    Layout("rows padded", _padded_vocabulary),
    Layout("a token too many", _added_token, "no row"),
    Layout(
        "a token too many, resized",
        _added_token,
        settings={"model.resize_embeddings": True},
        same=False,
    ),
)
