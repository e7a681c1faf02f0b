# SPDX-License-Identifier: GPL-3.0-or-later
"""What is imported is declared, what is declared is locked, what is locked has hashes."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Built by scripts/build-pjsua2, not taken from an index.
BUILT_HERE = {"pjsua2"}
OURS = {"bridge", "demo", "scripts", "tests", "benchmarks", "reliability"}


def _declared(*extras: str) -> list[Requirement]:
    optional = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in optional[extra])]
    return [Requirement(line) for line in lines]


def _locked(name: str) -> dict[str, list[Version]]:
    found: dict[str, list[Version]] = {}
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    for package, version in re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE):
        found.setdefault(canonicalize_name(package), []).append(Version(version))
    return found


def _imported_by(path: Path) -> Iterator[str]:
    """Names of modules, and `module.name` where a name of a module is imported."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _imports(*folders: str) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for name in _imported_by(path):
                yield name.partition(".")[0], str(path.relative_to(ROOT))


def _reached(first: Path) -> set[Path]:
    """The project's own files that a program loads."""
    reached: set[Path] = set()
    waiting = [first]
    while waiting:
        path = waiting.pop()
        if path in reached:
            continue
        reached.add(path)
        for name in _imported_by(path):
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                base = ROOT.joinpath(*parts[:end])
                found = (base.with_suffix(".py"), base / "__init__.py")
                waiting += [file for file in found if file.exists()]
    return reached


def _undeclared(declared: list[Requirement], *folders: str) -> dict[str, str]:
    distributions = packages_distributions()
    names = {canonicalize_name(requirement.name) for requirement in declared} | BUILT_HERE
    return {
        module: path
        for module, path in _imports(*folders)
        if module not in sys.stdlib_module_names
        and module not in OURS
        and not {canonicalize_name(name) for name in distributions.get(module, [module])} & names
    }


def test_the_service_imports_only_what_it_declares() -> None:
    # `olm` comes with mautrix[encryption].
    assert _undeclared([*_declared(), Requirement("python-olm")], "bridge") == {}


def test_the_set_up_runs_before_anything_is_installed() -> None:
    reached = _reached(ROOT / "scripts/provision.py")
    modules = {name.partition(".")[0] for path in reached for name in _imported_by(path)}

    assert ROOT / "scripts/pjsua2_recipe.py" in reached
    assert modules - sys.stdlib_module_names == {"scripts"}


def test_the_tests_import_only_what_is_declared() -> None:
    assert _undeclared(_declared("test", "dev"), "tests") == {}


def test_the_demo_imports_only_what_its_set_up_installs() -> None:
    """Its stage comes from the tests, most of whose packages it does not install."""
    installed = _locked("runtime").keys() | _locked("build").keys() | BUILT_HERE
    distributions = packages_distributions()
    missing = {
        module: str(path.relative_to(ROOT))
        for path in _reached(ROOT / "demo/__main__.py")
        for module in {name.partition(".")[0] for name in _imported_by(path)}
        if module not in sys.stdlib_module_names | OURS
        and not {canonicalize_name(name) for name in distributions.get(module, [module])}
        & installed
    }
    assert missing == {}


@pytest.mark.parametrize(("lock", "extras"), [("runtime", ()), ("dev", ("test", "dev"))])
def test_the_lock_holds_what_is_declared(lock: str, extras: tuple[str, ...]) -> None:
    locked = _locked(lock)
    wrong = [
        str(requirement)
        for requirement in _declared(*extras)
        if requirement.name != PROJECT["name"]
        and not any(
            version in requirement.specifier
            for version in locked.get(canonicalize_name(requirement.name), [])
        )
    ]
    assert wrong == [], "`make lock` writes the locks anew"


def test_the_demo_and_the_image_run_what_the_tests_run() -> None:
    tested = _locked("dev")
    assert {name: tested.get(name) for name in _locked("runtime")} == _locked("runtime")


@pytest.mark.parametrize("lock", ["build", "dev", "runtime", "synapse"])
def test_every_locked_package_has_hashes(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    blocks = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert blocks
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_no_lock_names_an_index() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        assert "://" not in lock.read_text(), lock.name
