"""``python -m tests.hostile.fuzz [--seconds N] [--corpus FOLDER] [TARGET…]``: fuzz the targets in turn, guided by which
code their inputs reach. What is found stays in ``tests/hostile/found``, where the tests run it from then on."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

FOUND = Path(__file__).parent / "found"
TOP = Path(__file__).parent.parent.parent

#: Seconds that one input may take, and MiB that fuzzing may, before it counts as found.
TIMEOUT = 10
MEMORY = 2048
#: Bytes of an input, at most.
LONGEST = 4096


def main() -> int:
    """Fuzz; 1 if something was found."""
    import atheris

    with atheris.instrument_imports(include=["adapter"]):
        from tests.hostile.seeds import seeds
        from tests.hostile.targets import TARGETS, run
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.fuzz", description="Fuzzes what strangers reach.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"which: {', '.join(TARGETS)}; all without")
    parser.add_argument("--seconds", type=int, default=3600, help="how long, all targets together")
    parser.add_argument("--corpus", type=Path, default=TOP / ".fuzz", help="where inputs that reach new code are kept")
    parser.add_argument("--alone", action="store_true", help="one target, in this process")
    given = parser.parse_args()
    if unknown := [target for target in given.targets if target not in TARGETS]:
        parser.error(f"there is no target {unknown[0]!r}; there are {', '.join(TARGETS)}")
    chosen = given.targets or list(TARGETS)
    if not given.alone:
        each = max(1, given.seconds // len(chosen))
        words = ["--alone", "--seconds", str(each), "--corpus", str(given.corpus)]
        command = [sys.executable, "-m", "tests.hostile.fuzz", *words]
        failed = [target for target in chosen if subprocess.run([*command, target], cwd=TOP, check=False).returncode]
        for target in failed:
            print(f"{target}: something was found; see {FOUND}", file=sys.stderr)
        return bool(failed)
    (target,) = chosen
    corpus = given.corpus / target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(target)):
        (corpus / f"seed-{number:04d}").write_bytes(seed[:LONGEST])
    options = [
        f"-max_total_time={given.seconds}",
        f"-timeout={TIMEOUT}",
        f"-rss_limit_mb={MEMORY}",
        f"-max_len={LONGEST}",
        f"-artifact_prefix={FOUND}/{target}-",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda data: run(target, data))
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
