"""Imports run one way: each part knows those above it in this list, and none beside it or below."""

import ast
from pathlib import Path

TOP = Path(__file__).parent.parent

LEVELS = [
    {"finding_codes"},
    {
        "subprocesses",
        "tasks",
        "notify",
        "errors",
        "globs",
        "known_secrets",
        "memory",
        "model",
        "quantities",
        "resources",
    }
    | {"section", "kinds", "timestamps"},
    {"event", "search_fields", "formats", "counts", "outgoing", "privacy", "problem", "trials", "browser"}
    | {"breaking_off", "callers"},
    {"log", "mapping", "sinks", "logs", "documents"},
    {"normalize", "system_events", "changes"},
    {"workbench", "ownership", "neighbours", "tokens", "kept", "source_state", "sealing"},
    {"tables", "sources", "folder"},
    {"filter", "schemas"},
    {"scope"},
    {"settings", "signing_keys"},
    {"principal"},
    {"oidc", "keys"},
    {"sign_ins"},
    {"delivery", "search", "access", "hints", "listening"},
    {"people", "reconciliation", "renormalization", "replay", "retention", "scrub"}
    | {"sink_comparison", "sink_management"},
    {"phasetwo"},
    {"api", "prepared", "handover"},
    {"console"},
    {"service"},
    {"running"},
    {"commands"},
    {"__main__"},
    {"docs"},
]


def level(part: str) -> int:
    return next(number for number, parts in enumerate(LEVELS) if part in parts)


def imported(file: Path) -> set[str]:
    """The parts of the package that a file imports."""
    parts: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{name.name}" if node.module == "adapter" else node.module for name in node.names]
        elif isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        else:
            continue
        parts |= {name.split(".")[1] for name in names if name.startswith("adapter.")}
    return parts - {"__version__"}


def test_imports_run_one_way() -> None:
    wrong = []
    for file in sorted((TOP / "adapter").rglob("*.py")):
        path = file.relative_to(TOP / "adapter")
        part = path.parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        wrong += [f"{path} imports {other}" for other in sorted(imported(file) - {part}) if level(other) >= level(part)]
    assert wrong == []


def test_the_hostile_receiver_knows_nothing_of_the_sender() -> None:
    files = [one for one in (TOP / "tests" / "receivers").glob("*.py") if not one.name.startswith("test_")]
    assert files
    assert {part for file in files for part in imported(file)} == set()


def test_client_and_watches_of_the_attacks_could_watch_any_service() -> None:
    for name in ("client", "probe", "table", "watches"):
        assert imported(TOP / "tests" / "hostile" / f"{name}.py") == set()
