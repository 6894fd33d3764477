"""What do the pinned packages bring with them, in which versions, and under which licenses?

python tests/support/dependencies.py > constraints.txt    # exact versions of everything but torch
python tests/support/dependencies.py --licenses           # each package, its version and its license
"""

import argparse
import importlib.metadata
import platform
import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
WHOLE = ("requirements.txt",)
TESTS = ("requirements.txt", "tests/requirements.txt")
# A CUDA build of torch brings these, another build of the same version does not.
CUDA = re.compile("nvidia-|cuda-|triton$")
COMMAND = "python tests/support/dependencies.py > constraints.txt"


def pins(name: str) -> list[Requirement]:
    """Read the packages that a requirements file pins for this machine."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pinned = [Requirement(line) for line in lines if line and not line.startswith("-r ")]
    return [pin for pin in pinned if pin.marker is None or pin.marker.evaluate()]


def normalize(name: str) -> str:
    """Spell a package's name as pip compares it."""
    return re.sub("[-_.]+", "-", name).lower()


def installed(files: tuple[str, ...]) -> dict[str, importlib.metadata.Distribution]:
    """Map the name of each package that these files bring, pinned or not, to its installed distribution."""
    pending = []
    for file in files:
        pending += pins(file)
    visited, packages = set(), {}
    while pending:
        wanted = pending.pop()
        name, extras = normalize(wanted.name), tuple(sorted(wanted.extras))
        if (name, extras) in visited or CUDA.match(name):
            continue
        visited.add((name, extras))
        packages[name] = importlib.metadata.distribution(name)
        for line in packages[name].requires or ():
            need = Requirement(line)
            if is_needed(need, extras):
                pending.append(need)
    return dict(sorted(packages.items()))


def is_needed(need: Requirement, extras: tuple[str, ...]) -> bool:
    """Check whether a package with these extras needs another one on this machine."""
    if need.marker is None:
        return True
    return any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras))


def license_of(package: importlib.metadata.Distribution) -> str:
    """Read a package's license as it states it: an expression, a short text, or its classifiers."""
    metadata = package.metadata
    stated = metadata.get("License-Expression") or metadata.get("License") or ""
    if stated and len(stated) < 60 and "\n" not in stated:
        return stated
    classifiers = [c for c in metadata.get_all("Classifier", []) if c.startswith("License")]
    if classifiers:
        return ", ".join(c.rpartition(" :: ")[2] for c in classifiers)
    return stated.strip().splitlines()[0]


def machine() -> str:
    """Name what may decide which packages are needed."""
    version = ".".join(platform.python_version_tuple()[:2])
    return f"Python {version} on {platform.system()} {platform.machine()}"


def constraints() -> str:
    """Write the content of constraints.txt.

    torch is left out, because the builds of one version differ in what they bring; so is what
    tests/requirements.txt pins by Python version.
    """
    by_machine = [pin for file in TESTS for pin in pins(file) if pin.marker is not None]
    excluded = {"torch", *(normalize(pin.name) for pin in by_machine)}
    lines = [f"# {machine()}, by: {COMMAND}"]
    for name, package in installed(TESTS).items():
        if name not in excluded:
            lines.append(f"{name}=={package.version}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--licenses", action="store_true", help="print each package, its version and license")
    if not parser.parse_args().licenses:
        print(constraints(), end="")
        return
    for name, package in installed(WHOLE).items():
        print(name, package.version, license_of(package), sep="\t")


if __name__ == "__main__":
    main()
