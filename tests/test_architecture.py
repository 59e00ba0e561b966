"""The rules of ARCHITECTURE.md that a machine can check."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EDGE = ROOT / "edge"
FILES = sorted(EDGE.rglob("*.py"))
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(EDGE)))

FLOW = (
    "acquisition",
    "conditioning",
    "features",
    "inference",
    "monitoring",
    "outbox",
    "publishing",
    "viewing",
    "ward",
)
FOUNDATION = {"edge", "edge.messages", "edge.errors", "edge.stage", "edge.clock"}

VENDORS = {
    "bleak": {"acquisition/ble_adapter.py"},
    "dbus_fast": {"acquisition/bluez.py"},
    "serial": {"acquisition/serial_port.py"},
    "wfdb": {"acquisition/wfdb_file.py", "annotation_file.py"},
    "edfio": {"acquisition/wfdb_file.py"},
    "paho": {"publishing/mqtt.py", "publishing/listener.py"},
    "cryptography": {"inference/signature.py"},
    "ai_edge_litert": {"inference/interpreter.py"},
    "tflite_runtime": {"inference/interpreter.py"},
    "rich": {"viewing/terminal.py"},
    "sqlite3": {"outbox/store.py"},
}
ADAPTERS = {name for files in VENDORS.values() for name in files}

WIRING = {
    "app.py",
    "pipeline.py",
    "replay.py",
    "demo.py",
    "health.py",
    "doctor.py",
    "config.py",
    "log.py",
    "clock.py",
    "__main__.py",
    "simulate.py",
    "acquisition/ble.py",
    "acquisition/ble_link.py",
    "acquisition/chunk_buffer.py",
    "acquisition/waiting.py",
    "acquisition/sensor.py",
    "acquisition/serial_ports.py",
    "acquisition/udev.py",
    "acquisition/transport.py",
    "acquisition/recording.py",
    "inference/bundle.py",
    "inference/lifecycle.py",
    "outbox/writer.py",
    "publishing/forwarder.py",
    "publishing/broker.py",
}
# Folders in which a file is pure unless it is named above.
PURE_FOLDERS = ("acquisition", "conditioning", "features", "inference", "monitoring", "outbox", "publishing")
IMPURE_MODULES = {
    "asyncio",
    "concurrent",
    "ctypes",
    "http",
    "io",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "queue",
    "select",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "urllib",
}


def relative(path: Path) -> str:
    return path.relative_to(EDGE).as_posix()


def is_wiring(path: Path) -> bool:
    name = relative(path)
    return name in WIRING or name.startswith("cli")


def imports(path: Path) -> set[str]:
    """Every module that a file imports, dotted, whether at the top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole name"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@each_file
def test_vendor_libraries_are_confined(path):
    """Each vendor library is imported by exactly the adapters named for it."""
    tops = {name.split(".")[0] for name in imports(path)}

    strays = {vendor for vendor, homes in VENDORS.items() if vendor in tops and relative(path) not in homes}

    assert not strays


@each_file
def test_only_the_clock_asks_for_the_time(path):
    """No module but clock.py calls time.* or datetime.now."""
    if relative(path) == "clock.py":
        return
    calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]

    wall = ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")
    asked = {name for name in calls if name.startswith("time.") or name.endswith(wall)}

    assert "time" not in imports(path)
    assert not asked


@each_file
def test_folders_import_only_from_upstream(path):
    """A folder knows the messages and the folders before it in the flow, never one after it."""
    folder = relative(path).split("/")[0]
    if folder not in FLOW:
        return
    allowed = set(FLOW[: FLOW.index(folder) + 1])

    for name in imports(path):
        if not name.startswith("edge."):
            continue
        part = name.split(".")[1]
        if part in FLOW:
            assert part in allowed, f"{relative(path)} imports {name}, which is downstream"
        else:
            assert f"edge.{part}" in FOUNDATION, f"{relative(path)} imports {name}, which is above it"


@each_file
def test_pure_modules_do_no_io(path):
    """A codec, DSP or rule module has no clock, I/O, logging or asyncio."""
    if relative(path).split("/")[0] not in PURE_FOLDERS or is_wiring(path) or relative(path) in ADAPTERS:
        return

    tops = {name.split(".")[0] for name in imports(path)}

    assert not tops & IMPURE_MODULES
    assert "edge.clock" not in imports(path)


@each_file
def test_no_globals(path):
    """No `global` statement and no module-level mutable container."""
    tree = ast.parse(path.read_text())

    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Global)]
    for node in tree.body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.List | ast.Dict | ast.Set):
            names = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            assert names.isupper() or names == "__all__", f"{relative(path)}: module-level mutable {names}"


@each_file
def test_importing_has_no_side_effect(path):
    """At module level there are only definitions, constants and imports."""
    if path.name == "__main__.py":
        return
    for node in ast.parse(path.read_text()).body:
        is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        assert not is_call, f"{relative(path)}:{node.lineno}: a call at import time"


@each_file
def test_environment_is_read_in_one_place(path):
    """Only the configuration and the entry point look at the environment."""
    if relative(path) in {"config.py", "__main__.py"} or relative(path).startswith("cli"):
        return
    text = ast.unparse(ast.parse(path.read_text()))

    assert "os.environ" not in text
    assert "os.getenv" not in text


@each_file
def test_stages_have_the_one_shape(path):
    """A class with `push` takes one item and can be reset with a reason."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ClassDef):
            continue
        methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
        if "push" in methods and relative(path).split("/")[0] in FLOW[:5]:
            assert "reset" in methods, f"{relative(path)}: {node.name} has push but no reset"
            assert len(methods["push"].args.args) == 2, f"{relative(path)}: {node.name}.push takes one item"


def test_every_named_file_is_where_the_rules_say():
    """The lists above name files of the flow, so that a renamed file cannot slip through."""
    planned = set(VENDORS)  # adapters that are still to come
    for vendor, homes in VENDORS.items():
        if vendor not in planned:
            assert any((EDGE / home).exists() for home in homes), vendor


def test_the_flow_reads_alphabetically():
    """The folder listing tells the flow."""
    assert list(FLOW) == sorted(FLOW)


def test_modules_and_functions_are_small():
    """No module over 400 lines and no function over 60 (docstring not counted)."""
    for path in FILES:
        tree = ast.parse(path.read_text())
        assert len(path.read_text().splitlines()) <= 400, relative(path)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                doc = node.body[0].end_lineno - node.body[0].lineno + 1 if ast.get_docstring(node) else 0
                assert node.end_lineno - node.lineno + 1 - doc <= 60, f"{relative(path)}: {node.name}"
