"""Errors for command lines that cannot be parsed: one line on what is wrong, one on what to do."""

from __future__ import annotations

from collections.abc import Sequence

from cyclopts import (
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from luthier.core.errors import UsageError
from luthier.core.names import did_you_mean, listed, named, similar

CONFIGURED = frozenset(
    {
        *("adapt", "config", "data", "evaluate", "inspect"),
        *("judge", "launch", "prompt", "submit", "tune"),
    }
)
"""Commands that read a configuration, and so take any setting as section.key=value."""


def misunderstood(error: CycloptsError, arguments: Sequence[str]) -> UsageError:
    """The error for a command line.

    Args:
        error: the parser's own error.
        arguments: the command line.
    """
    command = " ".join(("luthier", *(error.command_chain or ())))
    more = f"see '{command} --help'"
    is_of_a_group = isinstance(error, UnknownCommandError) and bool(error.command_chain)
    if isinstance(error, UnusedCliTokensError) or is_of_a_group:
        return _unexpected(error, command, arguments[len(error.command_chain or ()) :], more)
    if isinstance(error, UnknownOptionError):
        option = error.token.keyword or error.token.value
        names = [name for argument in error.argument_collection for name in argument.names]
        return _unknown_option(command, option.partition("=")[0], names, more)
    if isinstance(error, MissingArgumentError):
        return UsageError(_missing(error, command), fix=more)
    return UsageError(str(error), fix=more)


def _missing(error: MissingArgumentError, command: str) -> str:
    if error.keyword or not error.argument:
        return f"{error.keyword} needs a value"
    names = error.argument.names
    return f"'{command}' needs {next((one for one in names if one[0] != '-'), names[0])}"


def _unexpected(error: CycloptsError, command: str, words: Sequence[str], more: str) -> UsageError:
    """An argument that a command does not take, which may be a misspelt subcommand.

    Args:
        error: the parser's own error.
        command: the command that was understood.
        words: the command line behind it.
        more: where to read about the command.
    """
    known = [name for name in error.app or () if not name.startswith("-")]
    unused = (error.unused_tokens or [""])[0]
    word = next((word for word in words if not word.startswith("-")), unused)
    if close := similar(word, known):
        return UsageError(f"'{command}' has no {named(word)}", fix=f"use '{command} {close[0]}'")
    listing = listed(f"'{command} {name}'" for name in known)
    fix = f"the commands are {listing}; {more}" if known else more
    return UsageError(f"'{command}' takes no argument {named(unused)}", fix=fix)


def _unknown_option(command: str, option: str, known: Sequence[str], more: str) -> UsageError:
    """An option that a command does not have; a key of the configuration is set as a setting."""
    word = option.lstrip("-").replace("-", "_")
    keys = _keys(word) if command.split()[1:2] and command.split()[1] in CONFIGURED else []
    fix = did_you_mean(f"--{option.lstrip('-')}", known, cutoff=0.8 if keys else 0.7)
    if keys and not fix:
        written = listed((f"{key}=VALUE" for key in keys), 3, last=" or ")
        fix = f"it is a setting: write {written};"
    return UsageError(f"unknown option {option}", fix=f"{fix} {more}".strip())


def _keys(word: str) -> list[str]:
    """The keys of the settings with this name, otherwise of those with the most similar one."""
    from luthier.config.load import keys_named, setting_keys

    names = (key.rpartition(".")[2] for key in setting_keys())
    return keys_named(word) or [
        key for one in similar(word, names, cutoff=0.8) for key in keys_named(one)
    ]
