"""The C library builds strictly, passes its own tests, is covered, small, free of what a microcontroller has not."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.firmware_bridge import c_library as lib

SOURCES = sorted((lib.FOLDER / "src").glob("*.c"))
HEADERS = sorted((lib.FOLDER / "include").glob("*.h"))


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


def run(*command, cwd=lib.FOLDER):
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("option", ["-DFB_CRC_BITWISE=0", "-DFB_CRC_BITWISE=1"])
def test_every_source_is_strict_c99(compiler, option, tmp_path):
    """No warning from either compiler, with the table and without, hosted headers out of reach."""
    need(compiler)
    strict = [*lib.C_FLAGS, "-Wmissing-prototypes", "-Wstrict-prototypes", "-Wcast-qual", "-ffreestanding", option]

    for source in SOURCES:
        run(compiler, *strict, f"-I{lib.FOLDER / 'include'}", "-c", source, "-o", tmp_path / "one.o")


@pytest.mark.parametrize("header", HEADERS, ids=lambda path: path.name)
def test_every_header_stands_alone_in_c_and_cpp(header, tmp_path):
    """Included first, in a C99 and in a C++ file, it needs nothing before it."""
    need("gcc", "g++")
    source = tmp_path / "one.c"
    source.write_text(f'#include "{header.name}"\nextern int unused;\n')
    include = f"-I{header.parent}"

    run("gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", include, source)
    run("g++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c++", include, source)


def test_ring_takes_the_barrier_of_a_port(tmp_path):
    """A compiler without atomics: the port's barrier and a narrow index are used."""
    need("gcc")
    port = ['-DFB_RING_BARRIER()=__asm volatile("" ::: "memory")', "-DFB_RING_INDEX=uint8_t"]

    run("gcc", *lib.C_FLAGS, *port, f"-I{lib.FOLDER / 'include'}", "-c", lib.FOLDER / "src/fb_ring.c", "-o",
        tmp_path / "ring.o")  # fmt: skip


def test_library_needs_nothing_of_an_operating_system(tmp_path):
    """What its objects ask of others is memcpy and memset at most: no heap, no stdio; and no variable is kept."""
    need("gcc", "nm")
    wanted, kept = set(), set()
    for source in SOURCES:
        run("gcc", "-std=c99", "-O2", "-fno-stack-protector", f"-I{lib.FOLDER / 'include'}", "-c", source, "-o",
            tmp_path / "one.o")  # fmt: skip
        for line in run("nm", tmp_path / "one.o").splitlines():
            kind, name = line.split()[-2:]
            wanted |= {name} if kind == "U" and not name.startswith(("fb_", "_GLOBAL_OFFSET")) else set()
            kept |= {name} if kind in "bBdDcC" else set()

    assert wanted <= {"memcpy", "memset", "memmove", "memcmp"}
    assert not kept


def test_no_floating_point_is_used():
    """Not even in a constant; a Cortex-M0+ would link a library for it."""
    for path in [*SOURCES, *HEADERS]:
        code = re.sub(r"/\*.*?\*/|//[^\n]*|\"[^\"\n]*\"", "", path.read_text(), flags=re.DOTALL)

        assert not re.search(r"\b(float|double)\b|\d\.\d|malloc|\bgoto\b", code), path.name


def test_every_public_function_is_documented():
    """A comment for the reader stands right before each function of the headers."""
    for path in HEADERS:
        text = path.read_text()
        functions = re.findall(r"^(?!typedef|static|extern|#)[a-z_][\w \*]*?\b(fb_\w+)\(", text, flags=re.MULTILINE)
        documented = re.findall(r"\*/\n(?!typedef)[a-z_][\w \*]*?\b(fb_\w+)\(", text)

        assert set(functions) <= set(documented), path.name


def test_functions_are_short():
    """At most 60 lines, half of them at most 15 (counted with their braces)."""
    lengths = {}
    for path in SOURCES:
        for found in re.finditer(
            r"^[a-z][^\n;=]*?(\w+)\([^;{}]*?\) \{\n(.*?)^\}", path.read_text(), re.MULTILINE | re.DOTALL
        ):
            lengths[found[1]] = found[2].count("\n") + 2

    assert len(lengths) > 90
    assert max(lengths.values()) <= 60
    assert sorted(lengths.values())[len(lengths) // 2] <= 15


def test_own_tests_pass_under_sanitizers(tmp_path):
    """`make test`: no wrong answer, no byte out of bounds, nothing undefined."""
    need("make", "cc", "python3")

    said = run("make", "-s", "test", f"BUILD={tmp_path}")

    assert said.count(" 0 failed") == 2


def test_own_tests_take_nearly_every_branch(tmp_path):
    """`make coverage`: at least 95 % of the branches of src/."""
    need("make", "gcc", "gcov", "python3")

    said = run("make", "-s", "coverage", "CC=gcc", f"BUILD={tmp_path}")

    assert float(re.search(r"branch coverage ([\d.]+) %", said)[1]) >= 95.0


def test_analyzer_has_no_objection():
    """cppcheck finds nothing."""
    need("make", "cppcheck")

    run("make", "-s", "analyze")


def test_encode_path_fits_a_small_microcontroller():
    """What sends samples takes at most 2 KiB of flash and 256 bytes of RAM beyond the caller's buffers, everywhere."""
    need("make", "arm-none-eabi-gcc", "python3")

    said = run("make", "-s", "size")

    figures = re.findall(r"linked: (\d+) bytes of flash .* = (\d+) bytes of RAM", said)
    assert len(figures) >= 2
    assert all(int(flash) <= 2048 and int(ram) <= 256 for flash, ram in figures), said


@pytest.mark.long
def test_no_bytes_break_the_decoder_or_the_device(tmp_path):
    """A million inputs each, guided by coverage, under both sanitizers."""
    need("make", "clang")

    said = run("make", "-s", "fuzz", f"BUILD={tmp_path}", "RUNS=1000000")

    assert said.count("stat::number_of_executed_units: 1000000") == 2
