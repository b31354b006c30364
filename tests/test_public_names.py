"""The public names: no submodule of a package hides one of them, whatever has been imported before."""

from __future__ import annotations

import json
import subprocess
import sys

import nni_privacy

EVERYTHING = """
import json, pkgutil, sys
from importlib import import_module
from types import ModuleType

import nni_privacy

def modules(package):
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if not found.name.endswith("__main__"):
            module = import_module(found.name)
            yield module
            if found.ispkg:
                yield from modules(module)

packages = [nni_privacy, *(module for module in modules(nni_privacy) if hasattr(module, "__path__"))]
names = {f"{package.__name__}.{name}": isinstance(getattr(package, name), ModuleType)
         for package in packages for name in getattr(package, "__all__", ())}
json.dump({"names": names, "home": {name: getattr(nni_privacy, name).__module__ for name in nni_privacy.__all__}},
          sys.stdout)
"""


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_no_public_name_is_a_module_once_everything_is_imported() -> None:
    found = json.loads(python(EVERYTHING))
    assert len(found["names"]) > 100
    assert [name for name, is_module in found["names"].items() if is_module] == []
    assert sorted(found["home"]) == sorted(nni_privacy.__all__)
    assert found["home"]["audit"] == "nni_privacy.auditing.audit"


def test_the_module_of_the_audit_leaves_the_function_alone() -> None:
    code = "import nni_privacy.auditing.audit as module; import nni_privacy; print(nni_privacy.audit is module.audit)"
    assert python(code) == "True\n"
