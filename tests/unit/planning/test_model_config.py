"""Configurations are found where they are, most without a network, and are not trusted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from luthier.core.errors import DataError
from luthier.planning.families import read_architecture
from luthier.planning.model_config import find_config, known_facts, known_models

CONFIG = {"model_type": "llama", "hidden_size": 64}


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub, no network, and an empty working directory."""
    for name in ("HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return tmp_path / "hf" / "hub"


def write(path: Path, text: str = json.dumps(CONFIG)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def snapshot(cache: Path, name: str, commit: str, hidden: int, ref: str = "") -> Path:
    folder = cache / f"models--{name.replace('/', '--')}"
    if ref:
        write(folder / "refs" / ref, commit)
    return write(folder / "snapshots" / commit / "config.json", json.dumps({"hidden_size": hidden}))


def test_a_folder_and_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "model" / "config.json")
    assert find_config(str(tmp_path / "model")) == (CONFIG, str(path))
    assert find_config(str(path)) == (CONFIG, str(path))


def test_a_folder_of_a_known_models_name_comes_first() -> None:
    write(Path("gpt2") / "config.json")
    assert find_config("gpt2")[0] == CONFIG


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no config\.json") as caught:
        find_config(str(tmp_path))
    assert caught.value.where == str(tmp_path)


def test_a_file_that_is_no_configuration(tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf")
    with pytest.raises(DataError, match=r"not a config\.json"):
        find_config(str(path))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "invalid JSON"),
        ("[1, 2]", "JSON object"),
        ("[" * 100_000, "nested more than 100 levels"),
        ('{"a": "' + "x" * 2**20 + '"}', "exceeds"),
        ("\udcff", "invalid JSON"),
        ('{"vocab_size": ' + "9" * 5000 + "}", "a number of 5000 digits"),
    ],
    ids=["torn", "list", "deep", "large", "not UTF-8", "endless number"],
)
def test_damaged_and_hostile_files_are_refused(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=problem) as caught:
        find_config(str(path))
    assert caught.value.where == str(path)


def test_the_hubs_cache_comes_before_the_known_models(hub_cache: Path) -> None:
    path = snapshot(hub_cache, "Qwen/Qwen3-4B", "abc123", 7, ref="main")
    assert find_config("Qwen/Qwen3-4B") == ({"hidden_size": 7}, str(path))


def test_revisions_in_the_hubs_cache(hub_cache: Path) -> None:
    snapshot(hub_cache, "some/model", "aaa", 1, ref="main")
    snapshot(hub_cache, "some/model", "bbb", 2, ref="refs/pr/3")
    assert find_config("some/model")[0]["hidden_size"] == 1
    assert find_config("some/model", "refs/pr/3")[0]["hidden_size"] == 2
    assert find_config("some/model", "bbb")[0]["hidden_size"] == 2
    with pytest.raises(DataError, match="at revision 'ccc'"):
        find_config("some/model", "ccc")


def test_without_a_branch_the_newest_snapshot_is_taken(hub_cache: Path) -> None:
    for age, commit in enumerate(("new", "old")):
        path = snapshot(hub_cache, "some/model", commit, age)
        os.utime(path, (1000 - age, 1000 - age))
    assert find_config("some/model")[0]["hidden_size"] == 0


def test_the_hubs_cache_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    snapshot(tmp_path / "elsewhere", "some/model", "aaa", 1, ref="main")
    assert find_config("some/model")[0]["hidden_size"] == 1
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    snapshot(tmp_path / "xdg" / "huggingface" / "hub", "some/model", "aaa", 2, ref="main")
    assert find_config("some/model")[0]["hidden_size"] == 2


def test_no_name_leads_out_of_the_cache(hub_cache: Path, tmp_path: Path) -> None:
    snapshot(hub_cache, "some/model", "aaa", 1)
    write(tmp_path / "secret" / "config.json")
    for revision in ("../../../../../secret", "/etc", "..", "a/../b", ""):
        with pytest.raises(DataError, match="not a valid revision"):
            find_config("some/model", revision)
    # A branch whose file points elsewhere is not followed there.
    write(hub_cache / "models--some--model" / "refs" / "main", "../../../../secret")
    assert find_config("some/model")[0]["hidden_size"] == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("META-LLAMA/llama-3.1-8b", "meta-llama/Llama-3.1-8B"),
        ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B"),
        ("llama-3.1-8b-instruct", "meta-llama/Llama-3.1-8B"),
        ("smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("gpt2", "openai-community/gpt2"),
        ("gpt3", "gpt3-175b"),
        ("google/t5-v1_1-xl", "google/flan-t5-xl"),
    ],
)
def test_known_models_by_id_alias_and_last_part(name: str, expected: str) -> None:
    assert find_config(name) == (known_models()[expected], f"the known model {expected}")
    assert find_config(name, "main")[1] == f"the known model {expected}"


def test_another_revision_of_a_known_model_is_not_the_known_one() -> None:
    with pytest.raises(DataError, match="step1000"):
        find_config("EleutherAI/pythia-70m", "step1000")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("meta-llama/Llama-3.1-9B", "meta-llama/Llama-3.1-8B"),
        ("qwen3-4", "Qwen/Qwen3-4B"),
        ("flan-t5-bas", "google/flan-t5-base"),
    ],
)
def test_an_unknown_name_gets_the_ones_like_it(name: str, meant: str) -> None:
    with pytest.raises(DataError, match="no configuration") as caught:
        find_config(name)
    assert f"did you mean {meant}" in caught.value.fix


@pytest.mark.parametrize("name", ["", "  ", "x" * 5000, "a\0b"])
def test_what_is_no_name_at_all(name: str) -> None:
    with pytest.raises(DataError, match="is not a valid model name"):
        find_config(name)


@pytest.mark.parametrize("name", ["x" * 300, "a/b/c", "../..", "https://example.org/model"])
def test_what_is_neither_a_path_nor_an_id(name: str) -> None:
    with pytest.raises(DataError):
        find_config(name)


class _Hub(BaseHTTPRequestHandler):
    """Answers as the Hub does, for one model, and for one whose file is said to be large."""

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(json.dumps(CONFIG).encode())

    def _answer(self, body: bytes) -> None:
        path = self.path.split("?")[0]
        found = path in {f"/{name}/resolve/main/config.json" for name in ("some/model", "a/large")}
        size = 2**30 if path.startswith("/a/large") else len(json.dumps(CONFIG))
        self.send_response(200 if found else 404)
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("ETag", '"etag"')
        if not found:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", str(size if found else 0))
        self.end_headers()
        if found:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def find_online(name: str, endpoint: str) -> str:
    """In a fresh process, because the Hub's library reads its settings when it is imported."""
    code = (
        "import sys\nfrom luthier.core.errors import DataError\n"
        "from luthier.planning.model_config import find_config\n"
        "try:\n    print(*find_config(sys.argv[1]), sep='|')\n"
        "except DataError as error:\n    print(error.problem)\n"
    )
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"}
    result = subprocess.run(
        [sys.executable, "-c", code, name],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip()


def test_the_hub_gives_the_configuration(hub: str, hub_cache: Path) -> None:
    assert find_online("some/model", hub) == f"{CONFIG}|the Hub: some/model"
    # From then on it is in the cache.
    assert find_config("some/model")[0] == CONFIG


def test_a_model_that_the_hub_does_not_have(hub: str) -> None:
    assert "could not be downloaded: RepositoryNotFoundError" in find_online("no/model", hub)


def test_a_large_file_is_not_downloaded(hub: str) -> None:
    assert find_online("a/large", hub) == "this is too large for a config.json"


def test_a_hub_out_of_reach() -> None:
    found = find_online("some/model", "http://127.0.0.1:9")
    assert "'some/model' could not be downloaded" in found


@pytest.mark.parametrize("name", known_models())
def test_known_models_have_the_published_number_of_parameters(name: str) -> None:
    stated = known_facts()[name]["parameters"]
    counted = read_architecture(known_models()[name], name).parameters
    rounded = stated % 1_000_000 == 0
    assert counted == (pytest.approx(stated, rel=0.01) if rounded else stated)


def test_names_of_known_models_are_not_ambiguous() -> None:
    names = [
        other.lower()
        for name, entry in known_facts().items()
        for other in (name, *entry.get("aliases", ()))
    ]
    assert len(names) == len(set(names))


def test_known_models_are_found_fast() -> None:
    """In a fresh process: no torch, and nothing of the Hub's library."""
    code = (
        "import sys\nfrom luthier.planning.model_config import find_config\n"
        "find_config('llama-3-70b')\n"
        "print({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
