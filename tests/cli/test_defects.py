"""Whatever goes wrong, a command says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from luthier.cli.main import main


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (UnicodeError("label too long"), 1, "this is a bug in Luthier (UnicodeError): label"),
        (AssertionError(), 1, "this is a bug in Luthier (AssertionError)"),
        (BaseException("panic"), 1, "this is a bug in Luthier (BaseException): panic"),
        (RecursionError("x" * 9999), 1, "this is a bug in Luthier (RecursionError): xxx"),
        (MemoryError(), 4, "out of memory"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_command_ends_without_a_message(
    error: BaseException,
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def defective(_run: Path) -> None:
        raise error

    monkeypatch.setattr("luthier.report", defective)
    monkeypatch.setattr("luthier.cli.main.guard_streams", lambda: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        main(["report", "anywhere"])
    assert ended.value.code == code
    last = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert says in last
    assert len(last) < 400
