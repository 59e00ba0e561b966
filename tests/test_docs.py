"""The documents name files, links, commands and states that exist."""

import argparse
import ast
import re
from pathlib import Path

import pytest

from edge.cli import build_parser
from edge.messages import AlertState
from edge.monitoring.alarm_transitions import TRANSITIONS, AlarmEvent

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.zh-CN.md")
PAGES = (*READMES, "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")
USERS_OWN = {"bed.toml", "config.toml", "/etc/vitaledge/config.toml"}  # files that a reader writes
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def prose_of(page):
    return FENCE.sub("", text_of(page))


def blocks_of(page, language):
    return [body for kind, body in FENCE.findall(text_of(page)) if kind == language]


def names_of_all_files():
    folders = ("edge", "firmware_bridge", "converter", "tests", "benchmarks", "docs", "requirements")
    return {path.name for folder in folders for path in (ROOT / folder).rglob("*.*")}


def verbs_of(parser):
    (choices,) = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return choices


def anchor_of(heading):
    """Return the fragment under which a Markdown heading is found."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_named_files_exist(page):
    """A path in backticks that ends like a source file is one, from the root or by its own name."""
    names = names_of_all_files()

    named = set(re.findall(r"`([\w./-]+\.(?:py|md|toml|txt|svg))`", prose_of(page))) - USERS_OWN

    missing = {name for name in named if not (ROOT / name).exists() and ("/" in name or name not in names)}
    assert not missing


def test_the_layout_names_every_module_and_no_other():
    """The listing in ARCHITECTURE.md is complete for `edge/`, and none of its modules is invented."""
    (layout,) = [block for block in blocks_of("ARCHITECTURE.md", "text") if block.startswith("edge/  ")]
    listed = set(re.findall(r"\b(\w+\.(?:py|md|json))", layout))

    modules = {path.name for path in (ROOT / "edge").rglob("*.py") if path.parent.name != "cli"} - {"__init__.py"}

    assert modules <= listed
    assert listed <= names_of_all_files()


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_resolve(page):
    """Every link that stays in the project leads to a file, and to a heading where it names one."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, fragment = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        if not file.exists():
            broken.append(target)
        elif fragment:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            if fragment not in {anchor_of(heading) for heading in headings}:
                broken.append(target)

    assert not broken


@pytest.mark.parametrize("page", READMES)
def test_commands_in_the_readme_parse(page):
    """Every `vitaledge` line of a shell block is accepted by the real command line."""
    lines = [line.split("#")[0].split() for block in blocks_of(page, "sh") for line in block.splitlines()]
    commands = [words[1:] for words in lines if words and words[0] == "vitaledge"]

    assert commands
    for arguments in commands:
        if arguments != ["--help"]:
            build_parser().parse_args(arguments)


@pytest.mark.parametrize("page", READMES)
def test_verbs_in_the_prose_exist(page):
    """Every `vitaledge VERB` in backticks is a verb, its action and its options too."""
    verbs = verbs_of(build_parser())

    for named in re.findall(r"`vitaledge ([^`]+)`", prose_of(page)):
        verb, *rest = named.split()
        assert verb in verbs, named
        parser = verbs[verb]
        if verb in {"config", "model", "alerts"} and rest:
            assert rest[0] in verbs_of(parser), named
            parser = verbs_of(parser)[rest[0]]
        options = [word for word in rest if word.startswith("--")]
        assert all(option in parser._option_string_actions for option in options), named


@pytest.mark.parametrize("page", READMES)
def test_python_in_the_readme_imports_what_exists(page):
    """The Python examples parse, and what they import from the project is there."""
    for block in blocks_of(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "edge":
                module = __import__(node.module, fromlist=["*"])
                assert all(alias.name in vars(module) for alias in node.names)


@pytest.mark.parametrize("page", READMES)
def test_the_configuration_in_the_readme_is_valid(page, tmp_path):
    """The example configuration loads without a complaint."""
    from edge.config import config_paths, load_config

    (example,) = blocks_of(page, "toml")
    (tmp_path / "bed.toml").write_text(example, encoding="utf-8")

    loaded = load_config(config_paths(tmp_path / "bed.toml"), {}, [])

    assert loaded.config.subject_of("bed") == "p-9c1e"
    assert not loaded.warnings


def test_both_readmes_have_the_same_structure():
    """The Chinese page has the same sections, code, links and figures as the English one."""
    english, chinese = (text_of(page) for page in READMES)

    def depths(text):
        return [len(marks) for marks in re.findall(r"^(#+) ", FENCE.sub("", text), re.MULTILINE)]

    def commands(page):
        return [re.sub(r"\s*#.*", "", block) for block in blocks_of(page, "sh")]

    assert depths(english) == depths(chinese)
    assert commands(READMES[0]) == commands(READMES[1])
    assert blocks_of(READMES[0], "text") == blocks_of(READMES[1], "text")
    assert blocks_of(READMES[0], "python") == blocks_of(READMES[1], "python")


def test_the_table_of_alarm_states_is_the_one_in_the_code():
    """Section 10 of ARCHITECTURE.md says what `alarm_transitions` does."""
    lines = text_of("ARCHITECTURE.md").splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("| event |"))
    states = [AlertState(name) for name in re.findall(r"in `(\w+)`", lines[start])]
    table = {}
    for line in lines[start + 2 : start + 2 + len(AlarmEvent)]:
        event, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        for state, cell in zip(states, cells, strict=True):
            following, effect = re.fullmatch(r"`(\w+)`, (\w+)", cell).groups()
            table[state, AlarmEvent(event.strip("`"))] = (following, effect)

    code = {key: (following.value, effect.value) for key, (following, effect) in TRANSITIONS.items()}

    assert table == code
