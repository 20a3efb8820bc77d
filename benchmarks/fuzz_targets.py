"""The readers that `fuzz.py` gives spoilt files to, with good files of their own making.

A reader is everything that one part of Luthier opens; its targets take turns.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import luthier
from fuzz import Target
from fuzz_servers import server_targets
from luthier.config import ModelConfig
from luthier.core.console import Console

QUIET = Console(quiet=True)
_TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
_CHAT_TEMPLATE = (
    b"{%- set ns = namespace(n=0) -%}{%- for m in messages if m['content'] is string -%}"
    b"{%- set ns.n = ns.n + 1 -%}{{- '<|' + m.role | upper + '|>' ~ m['content'] | trim -}}"
    b"{%- if not loop.last %}{{ '\\n' * 2 }}{% endif -%}{%- endfor -%}"
    b"{%- if add_generation_prompt %}<|ASSISTANT|>{% endif %}{{ eos_token or '' }}"
)
_ROWS = [
    {"prompt": f"Is {n} odd?", "completion": "yes" if n % 2 else "no", "n": n / 2, "id": str(n)}
    for n in range(20)
]
_CHAT = {
    "messages": [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "1"},
        {"role": "assistant", "content": "Hello"},
    ]
}  # fmt: skip
_CONFIG = """\
name: x
model:
  id: smollm2-135m-instruct
  dtype: float32
data:
  source: d.jsonl
train:
  epochs: 2
  batch_size: 4
methods:
  lora:
    rank: 8
    learning_rate: 1e-4
evaluate:
  metrics: [exact-match]
"""
_GGUF_TENSORS = {
    "token_embd": (4, 16),
    "output_norm": (16,),
    "output": (4, 16),
    "blk.0.attn_norm": (16,),
    "blk.0.attn_q": (16, 16),
    "blk.0.attn_k": (8, 16),
    "blk.0.attn_v": (8, 16),
    "blk.0.attn_output": (16, 16),
    "blk.0.ffn_norm": (16,),
    "blk.0.ffn_gate": (32, 16),
    "blk.0.ffn_up": (32, 16),
    "blk.0.ffn_down": (16, 32),
}
_LIBRARY = Path(luthier.__file__).parent


def make_readers(place: Path) -> dict[str, list[Target]]:
    """Every reader of what is foreign by name, with its targets.

    Args:
        place: an empty folder for a tiny model and what belongs to it.
    """
    os.environ["LUTHIER_CACHE"] = str(place / "cache")
    model = _model(place / "model")
    servers = {"server": server_targets()}
    return _data() | _settings() | _runs(place, model) | _models(place, model) | servers


def _content(folder: Path, *names: str) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


def _data() -> dict[str, list[Target]]:
    lines = "".join(json.dumps(row) + "\n" for row in _ROWS)
    table = "prompt,completion\n" + "".join(f'"{r["prompt"]}",{r["completion"]}\n' for r in _ROWS)
    files = {
        "d.jsonl": lines.encode(),
        "chat.jsonl": "".join(_chat(n) for n in range(20)).encode(),
        "d.json": json.dumps(_ROWS).encode(),
        "d.csv": table.encode(),
        "d.tsv": table.replace(",", "\t").encode(),
        "d.txt": "".join(f"Paragraph {n} is {n * n}.\n\n" for n in range(20)).encode(),
        "d.jsonl.gz": gzip.compress(lines.encode()),
    }
    parquet = Target(_reader("d.parquet"), {"d.parquet": _parquet()})
    return {
        "data": [Target(_reader(name), {name: held}) for name, held in files.items()],
        "parquet": [parquet],
    }


def _chat(number: int) -> str:
    return json.dumps(_CHAT).replace("Hi", f"Hi {number}") + "\n"


def _reader(name: str) -> Callable[[Path], object]:
    from luthier.config import DataConfig, PromptConfig
    from luthier.data.dataset import load_dataset

    def read(folder: Path) -> object:
        return load_dataset(DataConfig(source=str(folder / name)), PromptConfig(), 0, QUIET)

    return read


def _parquet() -> bytes:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    held = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(_ROWS), held)
    return held.getvalue()


def _settings() -> dict[str, list[Target]]:
    from luthier.config import load_config
    from luthier.evaluation.judge.template import load_judge_template
    from luthier.prompts.chat_files import read_own_template
    from luthier.tasks.load import load_task, load_template

    judge = _LIBRARY / "evaluation/judge/library/pairwise.yaml"
    task = _LIBRARY / "tasks/library/gsm8k.yaml"
    config = Target(lambda f: load_config(f / "c.yaml"), {"c.yaml": _CONFIG.encode()})
    chat = Target(lambda f: read_own_template(str(f / "c.jinja")), {"c.jinja": _CHAT_TEMPLATE})
    mine = task.read_bytes().replace(b"gsm8k\n", b"mine\n", 1)
    return {
        "configuration": [config],
        "task and templates": [
            Target(lambda f: load_task(str(f / "task.yaml")), {"task.yaml": mine}),
            Target(lambda f: load_template(str(f / "t.yaml")), {"t.yaml": _template()}),
            Target(
                lambda f: load_judge_template(str(f / "j.yaml")), {"j.yaml": judge.read_bytes()}
            ),
        ],
        "chat template": [chat],
    }


def _template() -> bytes:
    return (
        b"name: mine\nprompt: 'Sentence: {{ content }}'\nlabel: '{{ label }}'\n"
        b"choices: {0: negative, 1: positive}\nmetrics: [accuracy]\n"
    )


def _runs(place: Path, model: Path) -> dict[str, list[Target]]:
    """A finished ladder's files, each spoilt in turn; a checkpoint is signed again."""
    from luthier.records.run_directory import RunDirectory
    from luthier.reports import write_report
    from luthier.reports.runs import collect_runs

    rows = [{"prompt": f"Is {n} odd?", "completion": "no" if n % 2 else "yes"} for n in range(60)]
    data = place / "parity.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "model.id": str(model),
        "model.dtype": "float32",
        "data.source": str(data),
        "adapt.rungs": ["zero-shot", "lora"],
        "train.max_steps": 4,
        "train.batch_size": 2,
        "data.num_test": 6,
        "evaluate.max_new_tokens": 4,
        "output": str(place / "runs"),
        "name": "ladder",
    }
    run = luthier.adapt(None, settings, QUIET).run.path

    def read(folder: Path) -> object:
        opened = RunDirectory.open(folder)
        return collect_runs(folder.parent), write_report(opened)

    names = sorted(
        str(path.relative_to(run))
        for path in run.rglob("*")
        if path.suffix in (".json", ".jsonl", ".yaml")
        and "checkpoints" not in path.parts
        and "artifact" not in str(path)
        and "adapter" not in str(path)
    )
    (checkpoints,) = run.rglob("checkpoints")
    step = sorted(checkpoints.glob("step-*"))[-1].name
    saved = [f"{step}/{name}" for name in ("state.json", "tensors.safetensors")]
    return {
        "run": [Target(read, _content(run, name), run) for name in names],
        "checkpoint": [
            Target(_signed_again, _content(checkpoints, name), checkpoints) for name in saved
        ],
    }


def _signed_again(folder: Path) -> object:
    from luthier.checkpoint.store import _manifest, latest_checkpoint
    from luthier.core.files import file_sha256
    from luthier.training.guards import GuardState
    from luthier.training.loss_scale import ScaleState
    from luthier.training.state import Progress, _stored

    step = sorted(folder.glob("step-*"))[-1]
    found = {name: file_sha256(step / name) for name in ("tensors.safetensors", "state.json")}
    (step / "manifest.json").write_text(_manifest(found))
    checkpoint = latest_checkpoint(folder, QUIET)
    if checkpoint is None:
        return None
    state = dict(checkpoint.state)
    for key in ("fingerprint", "inputs", "optimizer_tensors"):
        state.pop(key, None)
    _stored(GuardState, state.pop("guards", {}), "guards")
    _stored(ScaleState, state.pop("loss_scale", {}), "loss_scale")
    _stored(Progress, state, "state")
    return checkpoint.tensors()


def _models(place: Path, model: Path) -> dict[str, list[Target]]:
    from luthier.methods.adapted import load
    from luthier.models.load import open_model

    def read(folder: Path) -> object:
        return load(open_model(ModelConfig(id=str(folder), dtype="float32"), QUIET))

    def read_adapter(folder: Path) -> object:
        config = ModelConfig(id=str(folder), base=str(model), dtype="float32")
        return load(open_model(config, QUIET))

    index = _sharded(place / "sharded", model)
    adapter = _adapter(place / "adapter", model)
    weights = Target(read, _content(model, "model.safetensors"), model)
    shards = Target(read, _content(index, "model.safetensors.index.json"), index)
    tokenizer = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
    names = sorted(path.name for path in model.iterdir() if path.suffix == ".json")
    parts = ("adapter_config.json", "adapter_model.safetensors")
    return {
        "model settings": [
            Target(read, _content(model, name), model) for name in names if name not in tokenizer
        ],
        "tokenizer": [Target(read, _content(model, name), model) for name in tokenizer],
        "weights": [weights, shards],
        "adapter": [Target(read_adapter, _content(adapter, name), adapter) for name in parts],
        "gguf": [Target(_read_gguf, {"m.gguf": _gguf(place / "m.gguf")})],
    }


def _read_gguf(folder: Path) -> object:
    from luthier.models.load import open_model

    return open_model(ModelConfig(id=str(folder / "m.gguf")), QUIET)


def _model(folder: Path) -> Path:
    """A random Llama of two layers, with a tokenizer of bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: number for number, piece in enumerate(["<s>", "</s>", *alphabet])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", chat_template=_TEMPLATE
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=1,
    )
    made: Any = LlamaForCausalLM(config)
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    special = {"bos_token": "<s>", "eos_token": "</s>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    return folder


def _sharded(folder: Path, model: Path) -> Path:
    import shutil

    from transformers import AutoModelForCausalLM

    shutil.copytree(model, folder)
    (folder / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(model).save_pretrained(folder, max_shard_size="10KB")
    return folder


def _adapter(folder: Path, model: Path) -> Path:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model)
    settings = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    get_peft_model(base, settings).save_pretrained(folder)
    return folder


def _gguf(path: Path) -> bytes:
    """A Llama of one layer, whole."""
    import numpy as np
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(16)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b", "ab", "<|endoftext|>"])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(3)
    writer.add_eos_token_id(3)
    for name, shape in _GGUF_TENSORS.items():
        writer.add_tensor(f"{name}.weight", np.zeros(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()
