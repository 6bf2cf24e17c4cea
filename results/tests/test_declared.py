"""Every key that is read of a stored result is declared in its shape, so that a wrong value there is one line that
names it, before anything is shown.
"""

import json
from typing import Any

import pytest

from results.kinds.kind import BY_NAME
from results.tests import views
from results.tests.builders.run import SCENARIO, a_result, a_run

Path = tuple[str | int, ...]
THIN = a_run("spec", verdict="inconclusive", reason="only 4 shootdowns met a vCPU", met={"kicks": 9, "shootdowns": 4})
LONGER = a_result(THIN, scenario={**SCENARIO, "duration_s": 0.5}, command=["tdx-stress"])
DOCUMENTS = views.DOCUMENTS | {"run that is to last longer": LONGER}


class Watched(dict[str, Any]):
    """A dict that notes which of its keys are asked for."""

    def __init__(self, its: dict[str, Any], path: Path, asked: set[Path]) -> None:
        super().__init__({key: watched(value, (*path, key), asked) for key, value in its.items()})
        self._path, self._asked = path, asked

    def __getitem__(self, key: str) -> Any:
        self._asked.add((*self._path, key))
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._asked.add((*self._path, key))
        return super().get(key, default)


def watched(its: Any, path: Path, asked: set[Path]) -> Any:
    if isinstance(its, dict):
        return Watched(its, path, asked)
    return [watched(one, (*path, place), asked) for place, one in enumerate(its)] if isinstance(its, list) else its


def holds(its: Any, path: Path) -> bool:
    for key in path:
        if not (0 <= key < len(its) if isinstance(key, int) else key in its):
            return False
        its = its[key]
    return True


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_key_that_is_read_is_declared(name: str) -> None:
    kind = BY_NAME[name.split()[0]]
    stored, asked = json.loads(json.dumps(DOCUMENTS[name])), set[Path]()
    declared = kind.models[stored["schema"]].model_validate(stored).model_dump(by_alias=True)

    its = watched(stored, (), asked)
    views.screen(kind.name, its, 100)
    kind.exit_code(its)
    kind.rows(its)

    assert asked
    assert [path for path in sorted(asked, key=str) if holds(stored, path) and not holds(declared, path)] == []
