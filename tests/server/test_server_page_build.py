"""The build hook: wheels for others contain the page, editable installs never build it, and nothing is built twice."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(hook, tmp_path) -> Path:
    """A checkout whose page was built from its sources."""
    source = tmp_path / "web" / "src" / "main.tsx"
    source.parent.mkdir(parents=True)
    source.write_text("export {}", "utf-8")
    (tmp_path / "web" / "index.html").write_text("<html>", "utf-8")
    built = hook.page(tmp_path)
    built.mkdir(parents=True)
    (built / "index.html").write_text("<html>", "utf-8")
    (built / hook.STAMP).write_text(hook.digest(tmp_path / "web"), "utf-8")
    return tmp_path


def hook_of(hook, root: Path, target: str = "wheel"):
    return hook.PageHook(str(root), {}, None, None, str(root), target)


def without_node(hook, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(hook, "find_spec", lambda name: None)


def test_a_page_of_these_sources_is_not_built_again(hook, checkout, monkeypatch):
    without_node(hook, monkeypatch)
    assert "is built already" in hook.build(checkout)
    assert hook_of(hook, checkout).dependencies() == []


@pytest.mark.parametrize("change", ["edit", "add", "remove"])
def test_a_page_of_other_sources_is_not_taken_for_built(hook, checkout, change):
    source = checkout / "web" / "src" / "main.tsx"
    if change == "edit":
        source.write_text("export { other }", "utf-8")
    elif change == "add":
        source.with_name("more.ts").write_text("", "utf-8")
    else:
        source.unlink()
    assert not hook.is_built(checkout)


def test_what_is_not_a_source_does_not_matter(hook, checkout):
    (checkout / "web" / "node_modules").mkdir()
    (checkout / "web" / "node_modules" / "x.js").write_text("", "utf-8")
    assert hook.is_built(checkout)


def test_a_page_without_sources_is_taken_as_it_is(hook, checkout):
    (checkout / "web").rename(checkout / "elsewhere")
    assert hook.is_built(checkout)


def test_without_node_it_says_what_to_do_and_asks_for_the_package(hook, checkout, monkeypatch):
    without_node(hook, monkeypatch)
    (hook.page(checkout) / "index.html").unlink()
    assert hook_of(hook, checkout).dependencies() == [hook.NODE_WHEEL]
    with pytest.raises(SystemExit, match=r"needs Node 20.19 or newer.*\n.*install Node, or"):
        hook.build(checkout)


@pytest.mark.parametrize(("said", "fits"), [("v20.18.9", False), ("v20.19.0", True), ("v24.1.0", True), ("?", False)])
def test_node_is_taken_only_where_it_is_new_enough(hook, tmp_path, monkeypatch, said, fits):
    for name in ("node", "npm"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho {said}\n", "utf-8")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert hook._of_machine() == ([str(tmp_path / "npm")] if fits else None)


def test_the_node_of_the_package_runs_its_npm_by_the_file_that_it_is(hook, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    cli = tmp_path / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    for file in (tmp_path / "__init__.py", tmp_path / "bin" / "node", cli):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("", "utf-8")
    monkeypatch.setattr(hook, "find_spec", lambda name: ModuleSpec(name, None, origin=str(tmp_path / "__init__.py")))
    command, environment = hook._npm()
    assert command == [str(tmp_path / "bin" / "node"), str(cli)]
    assert environment["PATH"].split(":")[0] == str(tmp_path / "bin")


@pytest.mark.parametrize(("there", "fetched"), [(None, True), ("_of_machine", False), ("_of_package", False)])
def test_as_a_script_it_fetches_node_where_there_is_none(hook, checkout, monkeypatch, there, fetched):
    commands: list[list[str]] = []
    for name in ("_of_machine", "_of_package"):
        monkeypatch.setattr(hook, name, lambda name=name: ["npm"] if name == there else None)
    monkeypatch.setattr(hook.subprocess, "run", lambda command, **_: commands.append(command))
    hook.main(checkout, [])
    assert [command[-1] for command in commands] == ([hook.NODE_WHEEL] if fetched else [])


def test_as_a_script_it_runs_the_pages_own_scripts_with_that_node(hook, checkout, monkeypatch):
    ran: list[tuple[list[str], Path]] = []
    monkeypatch.setattr(hook, "_of_machine", lambda: ["/node/npm"])
    monkeypatch.setattr(hook, "_run", lambda command, folder, _: ran.append((command, folder)))
    hook.main(checkout, ["lint", "unit"])
    assert ran == [(["/node/npm", "run", script], checkout / "web") for script in ("lint", "unit")]


@pytest.mark.parametrize(
    ("target", "version", "built"),
    [("wheel", "standard", True), ("wheel", "editable", False), ("sdist", "standard", False)],
)
def test_only_a_wheel_for_others_builds_it(hook, checkout, monkeypatch, target, version, built):
    roots: list[Path] = []
    monkeypatch.setattr(hook, "build", lambda root: roots.append(root) or "done")
    hook_of(hook, checkout, target).initialize(version, {})
    assert roots == ([checkout] if built else [])
