"""From TOML's tables to values; whatever pydantic refuses becomes one line."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from scenarios.fields import expected
from scenarios.models import ELEMENTS, NESTED, ByLock
from scenarios.wording import ScenarioError, listed, nearest, place, shown

Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], where: str, name: str, table: Mapping[str, Any]) -> Model:
    """The table as a value of this model, under this name. Raises ScenarioError `where: key: expected, found`."""
    if "name" in table:
        raise ScenarioError(f"{where}: name: unknown key; the name is that of the file")
    try:
        return model.model_validate({**table, "name": name})
    except ValidationError as refused:
        prefix = f"{where}: " if where else ""
        raise ScenarioError(prefix + first_problem(model, refused)) from None


def first_problem(model: type[BaseModel], refused: ValidationError) -> str:
    """`key: expected this, found that` of the first error: a key that is missing is most often one that is misspelt."""
    error = min(refused.errors(include_url=False), key=lambda error: error["type"] == "missing")
    keys = _keys(error)
    return f"{place(keys)}: {_problem(model, keys, error)}"


def _keys(error: ErrorDetails) -> list[str | int]:
    keys = list(error["loc"])
    if not keys:
        return [*error["ctx"]["key"].split(".")]
    if keys[0] in ("expect", "busy"):  # a key is in the way: which kind of value it was taken for
        keys = [key for key in keys if key not in ("word", "more")]
    return keys


def _problem(model: type[BaseModel], keys: list[str | int], error: ErrorDetails) -> str:
    if error["type"] == "problem":
        return str(error["ctx"]["problem"])
    if error["type"] == "extra_forbidden":
        words = [word for word in _fields(model, keys) if word != "name"]
        near = nearest(str(keys[-1]), words)
        return "unknown key; " + (f'did you mean "{near}"?' if near else f"expected {listed(words)}")
    if error["type"] == "missing":
        return f"missing; expected {_expected(model, keys)}"
    return f"expected {_expected(model, keys)}, found {shown(error['input'])}"


def _fields(model: type[BaseModel], keys: list[str | int]) -> dict[str, FieldInfo]:
    if keys[0] == "busy" and len(keys) > 2:
        return ByLock.model_fields
    return NESTED[str(keys[0])].model_fields if keys[0] in NESTED and len(keys) > 1 else model.model_fields


def _expected(model: type[BaseModel], keys: list[str | int]) -> str:
    if len(keys) > 1 and (keys[0] not in NESTED or isinstance(keys[-1], int)):
        return ELEMENTS[str(keys[0])]
    return expected(_fields(model, keys)[str(keys[-1])])
