"""Files that are broken in every way: each ends in a result or in faults with their places, never in a traceback, a wait,
or a result file that is half written or lost."""

from __future__ import annotations

import random
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sparseloom import cli, designs
from sparseloom.case import complete, read
from sparseloom.model.evaluate import evaluate

SHARED = Path(__file__).parents[2] / "shared" / "reference" / "sparseloop"
PATIENCE_SECONDS = 10
SEEDS = range(12)
"""Each seed mutates every input once or more."""

Texts = dict[str, str]
Outcome = tuple[int, str, str]

OWN = """\
workload:
  name: rows
  einsum: "Z[m,n] = A[m,k] * B[k,n]"
  shape: {M: 8, N: 4, K: 6}
  tensors:
    A: {density: 0.25}
    B: {pattern: "N->K1->K0(1:2)"}
design:
  name: two-levels
  levels:
    - name: DRAM
      formats: {A: "UOP(M)-CP(K)"}
      metadata_width_bits: 8
      energy_pj: {read: 200, update: 200}
    - name: PE
      capacity_words: 64
      instances: [1, 1]
      skipping: ["B <- A"]
      read_words_per_cycle: 2
  compute: {name: MAC, instances: [3, 1], gating: true, energy_pj: {compute: 0.5}}
mapping:
  - {level: DRAM, keep: [A, B, Z], temporal: [M 4, N 4]}
  - {level: PE, keep: [A, B], temporal: [M 2, K 2], spatial: [K 3 X]}
"""

TIMELOOP = """\
architecture:
  version: 0.3
  subtree:
  - name: chip
    local:
    - name: Main
      class: DRAM
      attributes: {width: 64, block-size: 4, word-bits: 16, metadata_storage_width: 8, bandwidth: 8}
    subtree:
    - name: PE
      local:
      - name: Buffer
        class: storage
        attributes: {depth: 64, width: 16, datawidth: 16}
      - name: MAC[0..1]
        class: intmac
        attributes: {datawidth: 16, meshX: 2}
problem:
  shape:
    name: matmul
    dimensions: [M, N, K]
    data-spaces:
    - {name: A, projection: [[[M]], [[K]]]}
    - {name: B, projection: [[[K]], [[N]]]}
    - {name: Z, projection: [[[M]], [[N]]], read-write: true}
  instance:
    M: 8
    N: 4
    K: 6
    densities:
      A: {distribution: hypergeometric, density: 0.25}
      B: 0.5
mapping:
- {target: Main, type: temporal, factors: M4 N4 K1, permutation: KMN}
- {target: Buffer, type: temporal, factors: M2 N1 K3, permutation: KMN}
- {target: Buffer, type: spatial, factors: M1 N1 K2, permutation: KMN, split: 3}
- {target: Buffer, type: bypass, keep: [A, B], bypass: [Z]}
sparse_optimizations:
  targets:
  - name: Buffer
    action-optimization:
    - {type: skipping, target: B, condition-on: [A]}
"""

PUBLISHED = ("coordinate-list-spmspm", "eyeriss-v2-pe-mobilenet-l07", "tc-m128-k1152-n1024")
REFERENCE = {
    "exercises_v04/04.2.1-eyeriss-like-gating": ("arch.yaml", "problem.yaml", "timeloop-mapper.map.yaml"),
    "fig1_format/d0.1_coordinate_list": ("arch.yaml", "coordinate_list.yaml", "spmspm.prob.0.1.yaml", "map.yaml"),
    "table7_eyeriss/alexnet_conv2_sparse": ("aggregated_input.yaml", "ERT.yaml"),
}


def _published(name: str) -> Texts:
    """A case and its design, written out."""
    folder = Path(designs.__file__).parent
    case = (folder / "cases" / f"{name}.yaml").read_text("utf-8")
    found = re.search(r"^design: (\S+)\n", case, re.MULTILINE)
    assert found
    design = (folder / f"{found[1]}.yaml").read_text("utf-8")
    return {"case.yaml": case.replace(found[0], ""), "design.yaml": design}


def _reference(folder: str, names: tuple[str, ...]) -> Texts:
    return {name: (SHARED / folder / name).read_text("utf-8") for name in names if (SHARED / folder / name).exists()}


def _inputs() -> dict[str, Texts]:
    found = {"own": {"own.yaml": OWN}, "timeloop": {"timeloop.yaml": TIMELOOP}}
    found |= {name: _published(name) for name in PUBLISHED}
    if SHARED.is_dir():
        found |= {folder: _reference(folder, names) for folder, names in REFERENCE.items()}
    return found


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command line within the time that a user waits: exit code, stdout, stderr."""

    def command(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["sparseloom", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop, _patience():
            cli.main()
        printed = capsys.readouterr()
        return int(stop.value.code or 0), printed.out, printed.err

    return command


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """The first evaluation after a change of the model compiles it: that is not a wait of the user's input."""
    for name in PUBLISHED:
        evaluate(*complete(read([name]), []))


class TookTooLongError(BaseException):
    """Of no kind that any handler of the program catches."""


@contextmanager
def _patience() -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise TookTooLongError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# ---- mutations

NUMBER = re.compile(r"(?<![\w.])-?\d+(\.\d+)?(?![\w.])")
WORD = re.compile(r"[A-Za-z_][\w-]*")
VALUES = (
    "abc", "-1", "0", "1e30", "9223372036854775808", "9007199254740993", "1000000", ".nan", ".inf", "-.inf", "1.5", '""',
    "null", "[]", "{}", "true", "[1, [2, [3]]]", "{a: {b: c}}", "!foo 3", "&a 3", "*a", "1e-30", "-0.0", "2024-01-01", "7",
)  # fmt: skip
NAMES = ("x", "Zz", "weird name", "k", "K", "A", "none")


def _lines(change: Callable[[random.Random, list[str]], None]) -> Callable[[random.Random, str], str]:
    def mutate(luck: random.Random, text: str) -> str:
        lines = text.splitlines()
        change(luck, lines)
        return "\n".join(lines) + "\n"

    return mutate


@_lines
def _delete_lines(luck: random.Random, lines: list[str]) -> None:
    start = luck.randrange(len(lines))
    del lines[start : start + luck.choice((1, 1, 3))]


@_lines
def _duplicate_line(luck: random.Random, lines: list[str]) -> None:
    at = luck.randrange(len(lines))
    lines.insert(at, lines[at])


@_lines
def _swap_lines(luck: random.Random, lines: list[str]) -> None:
    a, b = luck.randrange(len(lines)), luck.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]


@_lines
def _indent_line(luck: random.Random, lines: list[str]) -> None:
    at = luck.randrange(len(lines))
    lines[at] = luck.choice(("  ", "\t")) + lines[at]


def _words(pattern: re.Pattern[str], values: tuple[str, ...]) -> Callable[[random.Random, str], str]:
    def mutate(luck: random.Random, text: str) -> str:
        places = list(pattern.finditer(text))
        place = luck.choice(places)
        return text[: place.start()] + luck.choice(values or [p.group() for p in places]) + text[place.end() :]

    return mutate


def _truncate(luck: random.Random, text: str) -> str:
    return text[: luck.randrange(len(text))]


def _insert_character(luck: random.Random, text: str) -> str:
    at = luck.randrange(len(text))
    return text[:at] + luck.choice("\0\x07\x80\ufffe\U0001f600{[:'&*!|%") + text[at:]


MUTATIONS = {
    "lines deleted": _delete_lines,
    "a line doubled": _duplicate_line,
    "lines swapped": _swap_lines,
    "a line indented": _indent_line,
    "a number replaced": _words(NUMBER, VALUES),
    "another number replaced": _words(NUMBER, VALUES),
    "a word replaced": _words(WORD, NAMES),
    "keys swapped": _words(WORD, ()),
    "the end cut off": _truncate,
    "a strange character": _insert_character,
}


@pytest.mark.parametrize("name", _inputs())
def test_inputs_are_sound_before_they_are_broken(run: Callable[..., Outcome], name: str, tmp_path: Path) -> None:
    code, _, errors = run("evaluate", *_write(tmp_path, _inputs()[name]))
    assert (code, errors) == (0, "")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", _inputs())
def test_a_broken_file_gives_a_result_or_faults_with_their_places(
    run: Callable[..., Outcome], name: str, seed: int, tmp_path: Path
) -> None:
    luck = random.Random(f"{name} {seed}")
    texts = dict(_inputs()[name])
    for mutation in luck.sample(list(MUTATIONS), luck.choice((1, 1, 1, 2))):
        file = luck.choice(list(texts))
        texts[file] = MUTATIONS[mutation](luck, texts[file]) or "\n"
    _judge(run, luck.choice(("evaluate", "check")), texts, tmp_path)


def _judge(run: Callable[..., Outcome], command: str, texts: Texts, folder: Path) -> Outcome:
    """Run a command on texts, and hold its outcome against what every outcome has to be."""
    paths = _write(folder, texts)
    target = folder / "result.json"
    target.write_text("old")
    asked = ["--json", target] if command == "evaluate" else []
    code, out, errors = run(command, *paths, *asked)
    assert code in (0, 2), errors
    if code == 0:
        assert errors == ""
        assert (target.read_text() == "old") == (command == "check")
        return code, out, errors
    assert out == ""
    assert target.read_text() == "old"
    assert {path.name for path in folder.iterdir()} == {*texts, target.name}
    places = [line for line in errors.splitlines() if re.match(r"(error: |/)", line)]
    assert places
    for line in places:
        lacking = "missing in" in line or "there is no `" in line  # of what is not there, only the files can be named
        assert any(f"{path}:" in line or (lacking and str(path) in line) for path in paths), errors
    return code, out, errors


def _write(folder: Path, texts: Texts) -> list[Path]:
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    return [folder / name for name in texts]


# ---- faults that have a name

FAULTS = {
    "an unknown key": ("capacity_words: 64", "capasity_words: 64", "unknown field 'capasity_words'"),
    "a missing level": (
        "  - {level: PE,",
        "  - {level: DRAM,",
        "the mapping is for levels DRAM, DRAM, the design has DRAM, PE",
    ),
    "a level left out": (
        OWN[OWN.index("  - {level: PE") :],
        "",
        "the mapping is for levels DRAM, the design has DRAM, PE",
    ),
    "a tensor in no level": ("keep: [A, B, Z]", "keep: [A, B]", "tensor Z is kept at no level"),
    "bounds below the shape": ("M 4, N 4", "M 3, N 4", "rank M: the bounds 3 x 2 make 6, its shape is 8"),
    "bounds beyond the shape": ("M 4, N 4", "M 5, N 4", "rank M: the bounds 5 x 2 make 10, its shape is 8"),
    "a density above 1": ("density: 0.25", "density: 1.25", "1.25 is above 1"),
    "a density below 0": ("density: 0.25", "density: -0.25", "-0.25 is below 0"),
    "a density that is no number": ("density: 0.25", "density: .nan", "nan is not a finite number"),
    "a pattern that does not divide": ("K0(1:2)", "K0(1:4)", "needs rank K in multiples of 4, it has 6 coordinates"),
    "a full level": ("capacity_words: 64", "capacity_words: 3", "but PE holds 3"),
    "too many lanes": ("instances: [3, 1]", "instances: [2, 1]", "PE has 2 children along X, the loop needs 3"),
    "a duplicate level": ("- name: PE", "- name: DRAM", "DRAM"),
    "a compute called like a level": ("{name: MAC,", "{name: PE,", "PE"),
    "a duplicate key": ("  name: rows\n", "  name: rows\n  name: rows\n", "key 'name' occurs again"),
    "a duplicate tensor": ("* B[k,n]", "* A[k,n]", "A"),
    "a tensor that leads itself": ('"B <- A"', '"B <- B"', "B"),
    "a feature about no tensor": ('"B <- A"', '"B <- C"', "C"),
    "a shape of zero": ("K: 6", "K: 0", "0 is below 1"),
    "a shape beyond 2^53": ("K: 6", "K: 9007199254740993", "9007199254740993 is above 9007199254740992"),
    "computes beyond 2^53": ("K: 6", "K: 900719925474099", "the layer has 28823037615171168 computes, more than 2^53"),
    "a tag": ("K: 6", "K: !!python/object:os.system 6", "6"),
    "an alias of itself": ("shape: {M: 8, N: 4, K: 6}", "shape: &a {M: 8, N: 4, K: *a}", "an alias contains itself"),
    "a tab": ("  shape:", "\tshape:", "not YAML"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_its_place(run: Callable[..., Outcome], fault: str, tmp_path: Path) -> None:
    old, new, message = FAULTS[fault]
    assert OWN.count(old) == 1
    code, _, errors = _judge(run, "evaluate", {"own.yaml": OWN.replace(old, new)}, tmp_path)
    assert code == 2
    assert message in errors
    assert re.search(r"own\.yaml:\d+: ", errors)
    assert "how to fix: " in errors


BOMB = "".join(
    f"{name}: &{name} [{', '.join([f'*{inner}'] * 9)}]\n" for inner, name in zip("abcdefghi", "bcdefghij", strict=True)
)
BYTES = {
    "an alias bomb": ("a: &a [1, 1]\n" + BOMB + OWN).encode(),
    "deep brackets": b"workload: " + b"[" * 50_000,
    "deep mappings": b"workload: " + b"{a: " * 5_000 + b"1" + b"}" * 5_000,
    "a byte that is not UTF-8": OWN.encode().replace(b"rows", b"r\xffws"),
    "UTF-16": OWN.encode("utf-16"),
    "zeros": bytes(4096),
    "a binary file": random.Random(0).randbytes(4096),
    "an archive": b"PK\x03\x04" + random.Random(1).randbytes(512),
    "nothing": b"",
    "white space": b" \n\n",
    "a number": b"3\n",
    "a list": b"- 3\n",
    "many documents": OWN.encode() + b"---\n" + OWN.encode(),
    "a number of ten thousand digits": OWN.replace("K: 6", f"K: {'9' * 10_000}").encode(),
}


@pytest.mark.parametrize("command", ["evaluate", "check"])
@pytest.mark.parametrize("what", BYTES)
def test_a_file_that_is_none_is_refused_with_its_line(
    run: Callable[..., Outcome], what: str, command: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(BYTES[what])
    code, out, errors = run(command, path)
    assert (code, out) == (2, "")
    assert re.match(rf"{re.escape(str(path))}:\d+: ", errors)


def test_a_folder_and_a_file_that_is_not_there_are_refused(run: Callable[..., Outcome], tmp_path: Path) -> None:
    code, _, errors = run("check", tmp_path, tmp_path / "none.yaml")
    assert code == 2
    assert f"{tmp_path}: cannot read the file: Is a directory" in errors
    assert f"{tmp_path}/none.yaml: cannot read the file: No such file" in errors


# ---- sizes that are absurd

HUGE = {
    "a rank of 2^40": (("K: 6", f"K: {6 * 2**40}"), ("K 2]", f"K {2 * 2**40}]")),
    "a rank of 2^40 outside": (("M: 8", f"M: {8 * 2**40}"), ("M 4,", f"M {4 * 2**40},")),
    "a tile of 2^40": (("M: 8", f"M: {8 * 2**40}"), ("M 2,", f"M {2 * 2**40},")),
}
DENSITIES = {
    "density: 0.25": 0,
    "density: 0.25, model: fixed-structured": 0,
    'pattern: "M->K1->K0(1:2)"': 2,
}
"""The sparsity of A, and how the command ends: where it is the same everywhere a sum does, else places are too many."""


@pytest.mark.parametrize("what", HUGE)
@pytest.mark.parametrize("density", DENSITIES)
def test_a_size_that_is_absurd_is_counted_or_refused_at_once(
    run: Callable[..., Outcome], what: str, density: str, tmp_path: Path
) -> None:
    text = OWN.replace("      capacity_words: 64\n", "").replace('    B: {pattern: "N->K1->K0(1:2)"}\n', "")
    for old, new in (*HUGE[what], ("density: 0.25", density)):
        text = text.replace(old, new)
    code, _, errors = _judge(run, "evaluate", {"own.yaml": text}, tmp_path)
    assert code == DENSITIES[density], errors
    assert ("places to look at one by one" in errors) == (code == 2)


def test_a_band_that_is_too_long_is_refused_at_once(run: Callable[..., Outcome], tmp_path: Path) -> None:
    text = OWN.replace("{M: 8, N: 4, K: 6}", "{M: 16384, N: 4, K: 16384}").replace(
        "density: 0.25", "band_half_width: 3"
    )
    code, _, errors = _judge(run, "check", {"own.yaml": text}, tmp_path)
    assert code == 2
    text = text.replace("M 4,", "M 8192,").replace("K 2], spatial: [K 3 X]", "K 16384]").replace("1:2", "1:4")
    code, _, errors = _judge(
        run, "evaluate", {"own.yaml": text.replace("capacity_words: 64", "word_bits: 8")}, tmp_path
    )
    assert code == 2
    assert "places to look at one by one" in errors


def test_a_count_beyond_2_to_the_53_is_an_error_that_names_it(run: Callable[..., Outcome], tmp_path: Path) -> None:
    """2^52 computes, as many words of A, and 16 bits of metadata for each of them: that one tile of A takes 2^56 bits."""
    size = 2**26
    text = OWN[: OWN.index("  tensors:")] + OWN[OWN.index("design:") :]
    text = text.replace("{M: 8, N: 4, K: 6}", f"{{M: {size}, N: 1, K: {size}}}").replace(
        "      capacity_words: 64\n", ""
    )
    text = text.replace("UOP(M)-CP(K)", "UOP(M)-CP(K):16")
    text = text.replace("[M 4, N 4]", f"[M {size}]").replace("[M 2, K 2], spatial: [K 3 X]", f"[K {size}]")
    code, _, errors = _judge(run, "evaluate", {"own.yaml": text}, tmp_path)
    assert code == 2
    assert "own.yaml:18: metadata bits of a tile of A at DRAM: 7.206e+16, more than 2^53 @ DRAM" in errors
