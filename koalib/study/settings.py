"""Settings of an experiment as words of the command line: ``NAME=VALUE``, read with the types of `Experiment`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args, get_type_hints

from koalib.errors import UserError
from koalib.study.experiment import Experiment

_NUMBERS = {int: "a whole number", float: "a number"}


def read_settings(words: Iterable[str]) -> dict[str, object]:
    """Settings by name; ``none`` for one that may be left open.

    Raises:
        UserError: no such setting, or a value of another type.
    """
    types, found = get_type_hints(Experiment), {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in types:
            raise UserError(f"--set {word}: write NAME=VALUE with one of {', '.join(types)}")
        found[name] = _value(name, text, get_args(types[name]) or (types[name],))
    return found


def _value(name: str, text: str, kinds: tuple[type, ...]) -> object:
    if type(None) in kinds and text == "none" and name not in ("gct", "wavelet"):  # "none" is a choice of theirs
        return None
    try:
        return kinds[0](text)
    except ValueError:
        raise UserError(f"--set {name}={text}: {_NUMBERS[kinds[0]]} is needed") from None
