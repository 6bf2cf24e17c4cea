"""A TDX host is known by a tree that stands for /sys, and its module by the version there."""

from pathlib import Path

import pytest

import scenarios.tdx_host as of_host
from scenarios.loader import ScenarioError, apply_settings, load_scenario
from scenarios.tdx_host import ENABLED, VERSION, TdxHost, tdx_host


@pytest.mark.parametrize(
    ("enabled", "version", "found"),
    [
        (None, None, TdxHost(False, None, None)),
        ("N\n", "1.5.24\n", TdxHost(False, None, None)),
        ("Y\n", None, TdxHost(True, None, None)),
        ("Y\n", "1.5\n", TdxHost(True, None, None)),
        ("Y\n", "1.5.06\n", TdxHost(True, "1.5.06", "tdx")),
        ("Y\n", "1.5.24\n", TdxHost(True, "1.5.24", "tdx_1_5_24")),
        ("1\n", "2.0.0\n", TdxHost(True, "2.0.0", "tdx_1_5_24")),
    ],
)
def test_a_tdx_host_and_its_module_are_what_sys_tells(
    tmp_path: Path, enabled: str | None, version: str | None, found: TdxHost
) -> None:
    for path, text in ((ENABLED, enabled), (VERSION, version)):
        if text is not None:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)

    assert tdx_host(tmp_path) == found


def test_the_hosts_module_is_taken_where_modules_differ_and_refused_where_none_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def module(scenario: str) -> str:
        return apply_settings(load_scenario(scenario), (), ["module=host"])[0].module

    monkeypatch.setattr(of_host, "tdx_host", lambda: TdxHost(True, "1.5.24", "tdx_1_5_24"))
    assert (module("zero_step"), module("review")) == ("tdx_1_5_24", "tdx")
    monkeypatch.setattr(of_host, "tdx_host", lambda: TdxHost(True, None, None))
    with pytest.raises(ScenarioError, match=r'a TDX host for "host", found one whose kernel tells no module.s version'):
        module("review")
