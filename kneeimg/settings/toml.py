"""TOML files to validated settings and back, with messages that name file, key and nearest key."""

from __future__ import annotations

import difflib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from kneeimg.errors import StudyError

Model = TypeVar("Model", bound=BaseModel)


def load_toml(path: Path, model: type[Model]) -> Model:
    """Read and validate a TOML file.

    Raises
    ------
    StudyError
        The file is absent or not TOML (with its line), a key is unknown (with the nearest valid
        key), or a value is out of range.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(
            "the settings file cannot be read",
            where=path.name,
            found=getattr(error, "strerror", None) or type(error).__name__,
            action="check the path",
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise StudyError("the file is not TOML", where=path.name, found=str(error)) from error
    return validate(content, model, where=path.name)


def validate(content: Mapping[str, Any], model: type[Model], *, where: str) -> Model:
    """Check plain values against a settings model; `where` names the file in the message.

    Raises
    ------
    StudyError
        As :func:`load_toml`; every mistake is named, not only the first.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = [_describe(problem, model) for problem in error.errors(include_url=False)]
        raise StudyError(
            "; ".join(message for message, _ in problems),
            where=where,
            expected="; ".join(dict.fromkeys(hint for _, hint in problems if hint)),
            action="correct the key or value and run again",
        ) from error


def dump_toml(values: Mapping[str, Any]) -> str:
    """TOML text of nested plain values; None is left out (TOML has no null).

    >>> print(dump_toml({"a": 1.0, "s": {"x": [1, 2]}, "v": [{"n": "BL"}]}), end="")
    a = 1.0
    <BLANKLINE>
    [s]
    x = [1, 2]
    <BLANKLINE>
    [[v]]
    n = "BL"
    """
    return "\n".join(_table_lines(values, "")).strip("\n") + "\n"


def _describe(problem: Any, model: type[BaseModel]) -> tuple[str, str]:
    location = tuple(problem["loc"])
    key = _dotted(location)
    if problem["type"] != "extra_forbidden":
        return f"{key}: {problem['msg']}, found {problem.get('input')!r}"[:300], ""
    names = _field_names(model, location[:-1])
    nearest = difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.5)
    if nearest:
        return f"unknown key {key}", f"did you mean {_dotted((*location[:-1], nearest[0]))}?"
    return f"unknown key {key}", f"one of {', '.join(names)}"


def _dotted(location: Sequence[int | str]) -> str:
    parts = "".join(f"[{p + 1}]" if isinstance(p, int) else f".{p}" for p in location)
    return parts.lstrip(".")


def _field_names(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Valid keys of the table at `location` inside the model."""
    for part in location:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        nested = _nested_model(field.annotation) if field else None
        if nested is None:
            return []
        model = nested
    return sorted(model.model_fields)


def _nested_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        if (nested := _nested_model(argument)) is not None:
            return nested
    return None


def _table_lines(table: Mapping[str, Any], prefix: str) -> list[str]:
    lines, below = [], []
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            below += ["", f"[{name}]", *_table_lines(value, f"{name}.")]
        elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            for item in value:
                below += ["", f"[[{name}]]", *_table_lines(item, f"{name}.")]
        elif value is not None:
            lines.append(f"{key} = {_toml_value(value)}")
    return lines + below


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    return json.dumps(str(value), ensure_ascii=False)
