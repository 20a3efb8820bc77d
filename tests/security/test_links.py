"""A link in a run that somebody sent leads nowhere: nothing behind it is read or changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from luthier.cli.main import run as luthier
from luthier.core.errors import DataError, ResourceError
from luthier.core.files import append_line, append_lines, read_json, read_lines, write_atomically
from luthier.core.folders import new_folder, remove_leftovers
from luthier.records.run_directory import RunDirectory

PRECIOUS = "what the user wrote\n"
COMMANDS = [
    ("report", "{run}"),
    ("evaluate", "{run}"),
    ("resume", "{run}"),
    ("extend", "{run}/rungs/lora", "--epochs", "1"),
    ("prompt", "--run", "{run}/rungs/lora", "--num", "1"),
    ("predict", "{run}/rungs/lora", "{run}/manifest.json"),
    ("merge", "{run}/rungs/lora"),
    ("push", "{run}/rungs/lora", "ada/router", "--dry-run", "--base", "ada/tiny"),
    ("compare", "{run}/rungs/lora", "{run}/rungs/zero-shot"),
    ("forgetting", "{run}/rungs/lora"),
]


def everything(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def places(run: Path) -> list[str]:
    """Every file and folder of a run, and the temporary names that were once predictable."""
    found = [str(path.relative_to(run)) for path in sorted(run.rglob("*"))]
    return [*found, ".report.html.partial", "rungs/lora/.rung.json.partial", "anything"]


def test_a_link_in_any_place_of_a_run_is_refused(
    adapted: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number, place in enumerate(places(adapted)):
        run = Path(shutil.copytree(adapted, tmp_path / str(number) / "ladder"))
        outside = tmp_path / str(number) / "outside"
        target, original = run / place, adapted / place
        if original.is_dir():
            shutil.rmtree(target)
            shutil.copytree(original, outside)
            (outside / ".tmp-work").mkdir()
        else:
            target.unlink(missing_ok=True)
            outside.write_text(PRECIOUS)
        target.symlink_to(outside)
        before = everything(outside.parent / "outside") if outside.is_dir() else PRECIOUS
        if place == "config.yaml":
            continue  # it is what makes the folder a run; the next test has it
        assert luthier(["report", str(run)]) == 3, place
        said = " ".join(capfd.readouterr().err.split())
        assert "this is a link, and links in a run are not followed" in said, place
        assert (everything(outside) if outside.is_dir() else outside.read_text()) == before
        shutil.rmtree(outside.parent)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
@pytest.mark.parametrize("place", ["rungs/lora/model", "rungs/lora/evaluation/x.json"])
def test_every_command_refuses_a_link(
    command: tuple[str, ...], place: str, copied: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text(PRECIOUS)
    target = copied / place
    if target.is_dir():
        shutil.rmtree(target)
    target.symlink_to(outside if target.suffix == "" else outside / "file")
    arguments = [part.format(run=copied) for part in command]
    assert luthier(arguments) == 3
    assert everything(outside) == {"file": PRECIOUS.encode()}


def test_a_list_of_runs_calls_one_with_a_link_broken(
    copied: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "outside").write_text(PRECIOUS)
    (copied / "training.json").symlink_to(tmp_path / "outside")
    assert luthier(["runs", "--output", str(copied.parent), "--json"]) == 0
    assert "broken" in capfd.readouterr().out


def test_a_pipe_in_a_run_is_not_waited_for(copied: Path) -> None:
    os.mkfifo(copied / "metrics.jsonl")
    assert luthier(["report", str(copied)]) == 3
    with pytest.raises(DataError, match="not a regular file"):
        read_json(copied / "metrics.jsonl")
    with pytest.raises(DataError, match="not a regular file"):
        append_line(copied / "metrics.jsonl", {})


def test_the_run_itself_may_be_a_link(copied: Path, tmp_path: Path) -> None:
    """The user names it: runs may lie on another disk."""
    (tmp_path / "here").symlink_to(copied)
    assert luthier(["report", str(tmp_path / "here")]) == 0


def test_files_do_not_follow_links(tmp_path: Path) -> None:
    outside, link = tmp_path / "outside", tmp_path / "link"
    outside.write_text('{"a": 1}\n')
    link.symlink_to(outside)
    for use in (read_json, lambda path: list(read_lines(path)), lambda path: append_line(path, {})):
        with pytest.raises(DataError, match="links in a run are not followed"):
            use(link)
    write_atomically(link, "new")
    assert (outside.read_text(), link.read_text(), link.is_symlink()) == (
        '{"a": 1}\n',
        "new",
        False,
    )


def test_what_has_a_second_name_is_not_changed_by_appending(tmp_path: Path) -> None:
    outside, own = tmp_path / "outside", tmp_path / "own.jsonl"
    outside.write_text("{}\n")
    os.link(outside, own)
    append_line(own, 1)
    append_lines(own, [2])
    assert outside.read_text() == "{}\n"
    assert list(read_lines(own)) == [{}, 1, 2]


def test_a_new_folder_replaces_what_was_there_or_nothing_changes(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(ResourceError), new_folder(target) as partial:
        (partial / "new" / "file").write_text("new")
    assert everything(tmp_path) == {"model": None, "model/old": b"old"}
    with new_folder(target) as partial:
        (partial / "new").write_text("new")
    assert everything(tmp_path) == {"model": None, "model/new": b"new"}


def test_leftovers_are_folders_of_ours_and_no_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "precious").mkdir(parents=True)
    run = tmp_path / "run"
    run.mkdir()
    name = ".step-000001.0123456789abcdef.partial"
    (run / name.replace("1.", "2.")).symlink_to(outside)
    (run / ".tmp-work").mkdir()
    (run / name).mkdir()
    remove_leftovers(run)
    assert (outside / "precious").exists()
    assert sorted(path.name for path in run.iterdir()) == [name.replace("1.", "2."), ".tmp-work"]
    (tmp_path / "link").symlink_to(outside)
    remove_leftovers(tmp_path / "link")
    assert (outside / "precious").exists()


def test_a_run_that_exists_is_looked_through_before_it_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match="link"):
        RunDirectory.create(tmp_path, "run")
