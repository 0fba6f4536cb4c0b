"""The licences of what is linked into the extension: `python tests/typing/notices.py` writes them anew.

Of licences that a crate leaves the choice of, Apache-2.0 is taken, whose text is the LICENSE of this project; of crates
that do not, all texts are repeated, as those of AWS-LC are, which says of each part of it where it is from.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
NOTICES = REPOSITORY / "rust" / "THIRD-PARTY-NOTICES"
PLATFORMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
_TEXTS = ("LICENSE*", "LICENCE*", "COPYING*", "aws-lc/third_party/*/LICENSE")
_HEAD = """\
Third-party notices of arrowseal

The compiled extension of arrowseal has parts of these works in it, besides the standard library of Rust (MIT OR
Apache-2.0, https://github.com/rust-lang/rust). Where Apache-2.0 may be chosen for a whole work, it is: its text is the
file LICENSE. The licences of all others follow.

"""


def linked() -> list[dict[str, Any]]:
    """The packages that the extension is linked from, as cargo describes them: no tools and macros of the build."""
    filters = [word for platform in PLATFORMS for word in ("--filter-platform", platform)]
    command = ["cargo", "metadata", "--quiet", "--locked", "--format-version", "1", *filters]
    told = json.loads(subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in told["packages"]}
    needs = {
        node["id"]: [each["pkg"] for each in node["deps"] if any(kind["kind"] is None for kind in each["dep_kinds"])]
        for node in told["resolve"]["nodes"]
    }
    found: dict[str, dict[str, Any]] = {}
    waiting = [name for name, package in packages.items() if package["name"] == "arrowseal-py"]
    while waiting:
        package = packages[name := waiting.pop()]
        if name not in found and not any("proc-macro" in target["kind"] for target in package["targets"]):
            found[name] = package
            waiting += needs[name]
    others = (package for package in found.values() if package["source"] is not None)
    return sorted(others, key=lambda package: (package["name"], package["version"]))


def notices() -> str:
    """What the file says."""
    packages = linked()
    lines = [
        f"{package['name']} {package['version']} ({package['license']}) {package['repository'] or ''}".rstrip()
        for package in packages
    ]
    parts = [_HEAD + "\n".join(lines) + "\n"]
    for package in packages:
        if " AND " not in package["license"] and "Apache-2.0" in package["license"]:
            continue
        folder = Path(package["manifest_path"]).parent
        texts = sorted({path for pattern in _TEXTS for path in folder.glob(pattern)})
        assert texts, f"{package['name']} comes without the text of its licence"
        for path in texts:
            title = f"{package['name']} {package['version']}, {path.relative_to(folder).as_posix()}"
            text = "\n".join(line.rstrip() for line in path.read_text(encoding="utf-8").strip().splitlines())
            parts.append(f"\n{'=' * 100}\n{title}\n{'=' * 100}\n\n{text}\n")
    return "".join(parts)


if __name__ == "__main__":
    NOTICES.write_text(notices(), encoding="utf-8")
