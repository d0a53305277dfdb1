"""The command line. Everything heavy is imported inside the command that needs it, so that `--help` is quick."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sparseloom import __version__
from sparseloom.errors import FAULT, INTERRUPTED, Fault, InputError, SparseloomError

if TYPE_CHECKING:
    from sparseloom.arch.design import Design
    from sparseloom.case import Case
    from sparseloom.mapping.details import TimeloopDetails
    from sparseloom.mapping.mapping import Mapping
    from sparseloom.model.conventions import Conventions
    from sparseloom.results import Result
    from sparseloom.workload.workload import Workload

    Arguments = tuple[Workload, Design, Mapping, Conventions, TimeloopDetails | None]

FRONT = "pareto"
"""The objective that asks for a front."""

app = typer.Typer(
    help="Model sparse tensor accelerators: cycles, energy and every access of a mapping.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Files = Annotated[list[Path], typer.Argument(help="workload, design and mapping, or Timeloop's", metavar="FILES...")]
JsonPath = Annotated[Path | None, typer.Option("--json", metavar="PATH", help="write the result to this file too")]
Profile = Annotated[
    str | None,
    typer.Option("--conventions", metavar="PROFILE", help="rules of counting; by default those of the files' version"),
]
Node = Annotated[
    float | None,
    typer.Option("--node", metavar="NM", help="energies are estimated of the design's components at this node, in nm"),
]
ResultPath = Annotated[Path, typer.Argument(help="what `evaluate --json`, `map --json` or `compare --json` wrote")]


def main() -> None:
    """The `sparseloom` command: faults go to stderr with exit code 2, without a traceback."""
    try:
        _run()
    except SparseloomError as error:
        _complain(error)
        sys.exit(FAULT)
    except MemoryError:
        print(
            "error: there is not enough memory\n  how to fix: give smaller files, or a smaller layer", file=sys.stderr
        )
        sys.exit(FAULT)
    except BrokenPipeError:
        # the reader of our output has gone: nothing to say, and Python must not try again when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _run() -> None:
    try:
        app()
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            print("interrupted", file=sys.stderr)
        raise
    finally:
        sys.stdout.flush()


def _complain(error: SparseloomError) -> None:
    for fault in error.faults:
        print(fault if fault.where else f"error: {fault}", file=sys.stderr)
    if len(error.faults) > 1:
        print(f"{len(error.faults)} faults", file=sys.stderr)


def _version(asked: bool) -> None:
    if asked:
        print(f"sparseloom {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    pass


@app.command()
def evaluate(
    files: Files,
    json: JsonPath = None,
    conventions: Profile = None,
    draws: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="evaluate N draws of the tensors too, and show how far numbers spread"),
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="of the draws")] = 0,
    node: Node = None,
) -> None:
    """Evaluate a mapping of a workload on a design with the analytical model, and print the result.

    FILES hold the workload, the design and the mapping, in our own format or in Timeloop's; the name of a published
    case stands for its file. Our own files are counted by the profile `sparseloom`, Timeloop's by that of their version.
    """
    from sparseloom import document

    document.require_writable(json)
    case, arguments = _prepared(files, conventions, node)
    result, interrupted = _evaluated(case, arguments), False
    if draws:
        result, interrupted = _drawn(result, case, arguments, draws, seed)
    if json is not None:
        result.to_json(json)
    print(result)
    if interrupted:
        raise typer.Exit(INTERRUPTED)


def _drawn(result: Result, case: Case, arguments: Arguments, draws: int, seed: int) -> tuple[Result, bool]:
    """The result with the spread of as many draws, or of those made until the user interrupted, and whether that was so."""
    from itertools import islice

    from sparseloom.model.draws import evaluate_draws, with_spread

    found: list[Result] = []
    interrupted = False
    try:
        for one in islice(evaluate_draws(*arguments, seed=seed), draws):
            found.append(one)
            if sys.stderr.isatty():
                print(f"\r{len(found)} of {draws} draws", end="", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        interrupted = True
    except SparseloomError as error:
        raise case.placed(error) from None
    finally:
        if found and sys.stderr.isatty():
            print(file=sys.stderr)
    return with_spread(result, found, seed) if found else result, interrupted


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", metavar="PATH", help="the page of plots that is written")] = Path(
        "sparseloom-demo.html"
    ),
) -> None:
    """Compare five accelerators on a pruned ResNet-50, and write a page of plots."""
    from sparseloom import document
    from sparseloom.report.demo import COMMAND
    from sparseloom.report.demo import demo as shown

    document.require_writable(output)
    _announce_compilation()
    found = shown(os.cpu_count() or 1)
    found.to_html(output)
    print(f"{found}\n\nplots, loop nests and assumptions: {output.resolve()}")
    print(f"the same with a search from scratch: {COMMAND} --fresh -o {output.name}")


@cache
def _announce_compilation() -> None:
    from sparseloom.kernel import announce

    what = "compiling the model's kernels, once after an installation (half a minute)"
    announce(lambda: print(what, file=sys.stderr, flush=True))


def _prepared(files: list[Path], conventions: str | None, node: float | None = None) -> tuple[Case, Arguments]:
    """What the files hold, and what `evaluate` takes of it."""
    from sparseloom.case import complete, read
    from sparseloom.model.conventions import profile

    rules = profile(conventions) if conventions is not None else None
    case = _at(read(files), node)
    details = case.timeloop.details if case.timeloop is not None else None
    return case, (*complete(case, files), rules or profile(case.conventions), details)


def _at(case: Case, node_nm: float | None) -> Case:
    """The case with energies estimated at a node, if one is given."""
    if node_nm is None:
        return case
    from sparseloom.arch.energy import estimated
    from sparseloom.arch.technology import Technology

    technology = Technology(node_nm)
    return case.with_designs(lambda design: estimated(design, technology))


def _evaluate(files: list[Path], conventions: str | None) -> Result:
    return _evaluated(*_prepared(files, conventions))


def _evaluated(case: Case, arguments: Arguments) -> Result:
    from dataclasses import replace

    from sparseloom.model.evaluate import evaluate

    _announce_compilation()
    try:
        result = evaluate(*arguments)
    except SparseloomError as error:
        raise case.placed(error) from None
    return replace(result, ignored=(*result.ignored, *case.ignored), notes=(*result.notes, *case.notes))


@app.command("map")
def map_(
    files: Files,
    objective: Annotated[
        str, typer.Option(help="edp, energy, cycles, or pareto: the front of energy and cycles")
    ] = "edp",
    budget: Annotated[
        str, typer.Option(help="how long to search at most: 30s, 5m, 2h; of a network, for each layer")
    ] = "30s",
    gap: Annotated[
        str, typer.Option(help="how near to its lower bound is enough: 1%; of a network, for each layer")
    ] = "0%",
    imperfect: Annotated[bool, typer.Option("--imperfect", help="bounds that do not divide their rank, too")] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", metavar="PATH", help="write the mapping to this file; of a network or front to a folder"),
    ] = None,
    json: JsonPath = None,
    jobs: Annotated[int, typer.Option(min=0, help="processes for a network; 0: as many as there are processors")] = 0,
    density: Annotated[
        float | None, typer.Option(min=0, max=1, help="of operands of a network for which none is known; else dense")
    ] = None,
    densities: Annotated[str, typer.Option(metavar="NAME", help="published densities of a network's layers")] = "",
    structured: Annotated[
        bool,
        typer.Option(
            "--structured", help="a network's weights are pruned in a pattern: their nonzeros are spread evenly"
        ),
    ] = False,
    energy_table: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="energies for files that give none: eyeriss-isca2016 (dense, 16 bits)"),
    ] = None,
    node: Node = None,
) -> None:
    """Find the best mapping of a workload on a design, and say how good it is.

    FILES hold the workload, the design and its constraints, in our own format or in Timeloop's. A mapping that they hold too
    is compared with what is found. Of a network every layer is mapped, those that are alike once. Names of published designs
    and networks stand for files; a published design brings its constraints unless files give others. Everything is counted by
    the profile `sparseloom`.
    """
    from sparseloom import document
    from sparseloom.case import read
    from sparseloom.map_command import Request, map_front, map_network, map_workload, with_densities
    from sparseloom.search.objective import objective as goal_of
    from sparseloom.search.objective import require_budget

    goal, seconds = goal_of("energy" if objective == FRONT else objective, (FRONT,)), _seconds(budget)
    near = _share(gap)
    require_budget(seconds, near)
    if near and objective == FRONT:
        raise InputError(Fault("every point of a front is proven", path="gap", fix="leave out --gap"))
    document.require_writable(output if output is None or not output.is_dir() else output / "search.json", json)
    if energy_table is not None and node is not None:
        raise InputError(Fault("--energy-table and --node are given", path="node", fix="keep one of them"))
    case = _at(read(files, searching=True), node)
    if energy_table is not None:
        from sparseloom.arch.named_energies import with_energies

        case = case.with_designs(lambda design: with_energies(design, energy_table))
    request = Request(case, files, goal, seconds, near, imperfect, output, json)
    _announce_compilation()
    if case.network is not None:
        if objective == FRONT:
            raise InputError(Fault("fronts are of one workload", path="objective", fix="give edp, energy or cycles"))
        code = map_network(with_densities(case.network, density, densities, structured), request, jobs)
    else:
        code = map_front(request) if objective == FRONT else map_workload(request)
    if code:
        raise typer.Exit(code)


def _seconds(text: str) -> float:
    """Seconds of a text such as 30s, 5m or 2h."""
    import re

    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
    if match is None:
        raise InputError(Fault(f"'{text}' is not a time", path="budget", fix="write 30s, 5m or 2h"))
    return float(match[1]) * {"s": 1, "": 1, "m": 60, "h": 3600}[match[2]]


def _share(text: str) -> float:
    """The share of a text such as 1%."""
    import re

    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text)
    if match is None:
        raise InputError(Fault(f"'{text}' is not a share", path="gap", fix="write 1%"))
    return float(match[1]) / 100


@app.command()
def compare(
    network: Annotated[str, typer.Argument(help="a published network, or the file of one")],
    designs: Annotated[str, typer.Option(help="published designs, or files of your own, as tc,stc,mine.yaml")],
    weights: Annotated[
        str | None,
        typer.Option(
            help="a density, dense, or a pattern, as 'C1(2:4)->C0(2:4)'; by default what the layers state, else dense"
        ),
    ] = None,
    activations: Annotated[str | None, typer.Option(help="the same of the activations")] = None,
    objective: Annotated[str, typer.Option(help="edp, energy or cycles: what mappings are the best by")] = "edp",
    budget: Annotated[str, typer.Option(help="how long to search a layer on a design at most")] = "30s",
    node: Annotated[float, typer.Option(help="nm: energies and areas of all designs are estimated for this node")] = 45,
    output: Annotated[
        Path | None,
        typer.Option("-o", metavar="PATH", help="write a page of plots to this HTML file, which opens offline"),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="search what comes with the package as well")] = False,
    sweep: Annotated[
        bool | None,
        typer.Option(
            "--sweep/--no-sweep",
            help="EDP and speed against the density of the weights too, of the heaviest layer; by default where a page is written",
        ),
    ] = None,
    json: JsonPath = None,
    jobs: Annotated[int, typer.Option(min=0, help="processes; 0: as many as there are processors")] = 0,
) -> None:
    """Map every layer of a network at its best on several designs, and lay them side by side: cycles, energy, EDP, utilisation,
    bottleneck, area.

    Each design sees of the operands what it supports: a pattern that it exploits, else dense. Layers that it cannot run are listed
    with the reason. All energies and areas are estimates at one node.
    """
    from sparseloom import document
    from sparseloom.compare_command import compare_designs

    document.require_writable(json, output)
    _announce_compilation()
    names = [name.strip() for name in designs.split(",") if name.strip()]
    code = compare_designs(
        network, names, weights, activations, objective, _seconds(budget), node, jobs, fresh,
        output is not None if sweep is None else sweep, json, output,
    )  # fmt: skip
    if code:
        raise typer.Exit(code)


@app.command()
def prune(
    model: Annotated[
        str, typer.Argument(help="a function that returns a model, as mymodel.py:build; or lenet5, convnet, vit")
    ],
    pattern: Annotated[str, typer.Option(help="by ranks M, C, R, S, as 'C1(3:4)->C0(2:4)', 'block(M:8, C:8)', dense")],
    density: Annotated[float | None, typer.Option(min=0, max=1, help="where the pattern admits several")] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATTERN", help="of one weight, as fc=C0(2:4) or fc=unstructured@0.3; repeat"),
    ] = None,
    data: Annotated[
        str,
        typer.Option(
            help="a function that returns its splits, as mydata.py:loaders; digits; mnist:FOLDER, cifar10:, images:"
        ),
    ] = "",
    epochs: Annotated[int, typer.Option(help="with pruning")] = 10,
    pretrain: Annotated[
        int | None, typer.Option(help="epochs before it; by default 30 for a model of ours without --weights, else 0")
    ] = None,
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="a state dict to start from")] = None,
    schedule: Annotated[str, typer.Option(help="once, gradual, incremental, layerwise, penalty or fixed")] = "once",
    prune_epochs: Annotated[int, typer.Option(help="epochs that the schedule takes; 0: half of them")] = 0,
    penalty: Annotated[float, typer.Option(help="weight of the group lasso of the schedule penalty")] = 1e-3,
    importance: Annotated[str, typer.Option(help="of a value: magnitude, fisher or hessian")] = "magnitude",
    norm: Annotated[str, typer.Option(help="of a block: mean, rms, l1, l2, variance or variance-whole")] = "mean",
    first: Annotated[bool, typer.Option("--first", help="prune the first layer too")] = False,
    only: Annotated[str, typer.Option(metavar="REGEX", help="prune no others than weights of these names")] = "",
    skip: Annotated[str, typer.Option(metavar="REGEX", help="leave weights of these names dense")] = "",
    pad: Annotated[
        bool,
        typer.Option("--pad/--no-pad", help="pad ranks that the pattern does not divide, or leave their layers dense"),
    ] = True,
    lr: Annotated[float, typer.Option(help="the learning rate at the start; it falls along half a cosine")] = 1e-3,
    optimiser: Annotated[str, typer.Option(help="adamw or sgd")] = "adamw",
    weight_decay: Annotated[float, typer.Option(min=0)] = 1e-4,
    int8: Annotated[
        int | None, typer.Option(metavar="EPOCHS", help="quantise to 8 bits and fine-tune so long (0: calibrate alone)")
    ] = None,
    batch: Annotated[int, typer.Option(help="samples a batch, of data that are not cut into batches already")] = 64,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    output: Annotated[
        Path, typer.Option("-o", metavar="FOLDER", help="where weights, masks and the record are written")
    ] = Path("pruned"),
    json: JsonPath = None,
) -> None:
    """Prune a PyTorch model by a pattern, fine-tune it, and say what it cost in accuracy.

    Each weight is seen as M x C x R x S: filters, channels, rows and columns of the kernel. The first layer, depthwise layers and
    weights that are shared stay dense; what is done to each is printed. A run that was cut goes on with the same command.
    """
    from sparseloom import document
    from sparseloom.prune.record import Settings
    from sparseloom.prune_command import prune_model, require_torch

    document.require_writable(json)
    require_torch()
    data = _data_of(model, data)
    pretrain = 0 if pretrain is None and schedule == "fixed" else _pretrain(model, weights, pretrain)
    settings = Settings(
        model, data, str(weights or ""), pattern, density, pretrain, epochs, lr, optimiser, weight_decay, batch, seed, schedule,
        prune_epochs, penalty, importance, norm, first, only, skip, pad, int8,
        tuple(_layer_pattern(each) for each in layer or ()),
    )  # fmt: skip
    code = prune_model(settings, output, json)
    if code:
        raise typer.Exit(code)


def _layer_pattern(text: str) -> tuple[str, str, float | None]:
    """A weight, its pattern and its density, of ``fc=C0(2:4)`` or ``fc=unstructured@0.3``."""
    name, equals, pattern = text.partition("=")
    pattern, at, density = pattern.partition("@")
    try:
        share = float(density) if at else None
    except ValueError:
        share = -1.0
    if not equals or not name or not pattern or (share is not None and not 0 <= share <= 1):
        raise InputError(
            Fault(f"'{text}' is no pattern of a weight", path="layer", fix="write fc=C0(2:4), or fc=unstructured@0.3")
        )
    return name, pattern, share


@app.command("import")
def import_(
    target: Annotated[
        str,
        typer.Argument(help="a folder of `prune`, an ONNX file, a function that returns a model, as mymodel.py:build, lenet5 ..."),
    ],
    data: Annotated[str, typer.Option(help="what to run it on, as for `prune`; by default the data of the run")] = "",
    samples: Annotated[
        int, typer.Option(help="samples of the validation split over which densities are measured")
    ] = 64,
    output: Annotated[Path, typer.Option("-o", metavar="PATH", help="the network file that is written")] = Path(
        "network.yaml"
    ),
    tensors: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="write the tensors of one sample too: a workload for each layer, with actual data"
        ),
    ] = None,
) -> None:
    """Import a model as a network: its layers, the patterns of its weights, and densities as measured on data.

    The file is what `compare` and `map` read. Operators that multiply tensors and are no layers are listed.
    """
    from sparseloom import document
    from sparseloom.prune_command import import_network

    document.require_writable(output)
    import_network(target, data, samples, output, tensors)


@app.command()
def frontier(
    model: Annotated[str, typer.Argument(help="a function that returns a model, as mymodel.py:build; or lenet5, convnet, vit")],
    designs: Annotated[
        str, typer.Option(help="published designs, or files of your own, as tc,stc,mine.yaml")
    ] = "tc,stc,dstc,highlight",
    patterns: Annotated[
        str | None, typer.Option(help="separated by semicolons, as 'C0(2:4); unstructured@0.3'; by default those of the thesis")
    ] = None,
    data: Annotated[str, typer.Option(help="as for `prune`")] = "",
    epochs: Annotated[int, typer.Option(help="with each pattern")] = 10,
    pretrain: Annotated[
        int | None, typer.Option(help="epochs before it; by default 30 for a model of ours without --weights, else 0")
    ] = None,
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="a state dict to start from")] = None,
    budgets: Annotated[str, typer.Option(help="accuracy that may be lost, in points")] = "0,0.25,0.5,1,2",
    candidates: Annotated[int, typer.Option(min=0, help="models with a pattern per layer, for each design at most")] = 6,
    lr: Annotated[float, typer.Option(help="the learning rate at the start; it falls along half a cosine")] = 1e-3,
    optimiser: Annotated[str, typer.Option(help="adamw or sgd")] = "adamw",
    batch: Annotated[int, typer.Option(help="samples a batch, of data that are not cut into batches already")] = 64,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    budget: Annotated[str, typer.Option(help="how long to search a layer on a design at most")] = "30s",
    node: Annotated[float, typer.Option(help="nm: energies and areas of all designs are estimated for this node")] = 45,
    runs: Annotated[Path, typer.Option(metavar="FOLDER", help="where the trained models are kept")] = Path("frontier"),
    output: Annotated[
        Path | None, typer.Option("-o", metavar="PATH", help="write a page to this HTML file, which opens offline")
    ] = None,
    json: JsonPath = None,
    jobs: Annotated[int, typer.Option(min=0, help="processes of the search; 0: as many as there are processors")] = 0,
) -> None:
    """Lay accuracy against EDP: a model pruned by many patterns on several designs, then with a pattern for each layer.

    A pattern per layer is chosen by what pruning a layer alone does to the loss and by what the design gains. Budgets are chosen on
    the validation split; the test split is reported. Models that were trained are not trained again.
    """
    from sparseloom import document
    from sparseloom.prune.record import Settings
    from sparseloom.prune_command import frontier_of, require_torch
    from sparseloom.report.frontier import PATTERNS

    document.require_writable(json, output)
    require_torch()
    settings = Settings(
        model, _data_of(model, data), str(weights or ""), pretrain=_pretrain(model, weights, pretrain), epochs=epochs,
        learning_rate=lr, optimiser=optimiser, batch=batch, seed=seed,
    )  # fmt: skip
    _announce_compilation()
    code = frontier_of(
        settings, [name.strip() for name in designs.split(",") if name.strip()],
        list(PATTERNS) if patterns is None else [each.strip() for each in patterns.split(";") if each.strip()],
        [_points(each) for each in budgets.split(",")], candidates, node, _seconds(budget), jobs, runs, output, json,
    )  # fmt: skip
    if code:
        raise typer.Exit(code)


def _data_of(model: str, data: str) -> str:
    """The data of a model, where none are named: those that ours start with."""
    from sparseloom.prune.models import DATA

    if not data and ":" in model:
        raise InputError(Fault("no data are named for a model of your own", path="data", fix="as --data mydata.py:loaders"))
    return data or DATA.get(model, "digits")


def _pretrain(model: str, weights: Path | None, epochs: int | None) -> int:
    """Epochs of dense training: models of ours are untrained."""
    if epochs is not None:
        return epochs
    return 0 if ":" in model or weights is not None else 30


def _points(text: str) -> float:
    """A share of samples, of a number of points."""
    try:
        share = float(text) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise InputError(Fault(f"'{text.strip()}' is no accuracy that may be lost", path="budgets", fix="write points, as 0,0.5,1"))
    return share


@app.command()
def check(files: Files) -> None:
    """Check files, each by itself and against the others, and show what they hold. All faults are reported at once.

    With a workload, a design and a mapping, tiles that do not fit are found too. Of a design with open choices every variant is
    checked.
    """
    from sparseloom.case import read
    from sparseloom.mapping.render import render

    case = read(files)
    if case.workload and case.design and case.mapping:
        _evaluate(files, None)
    if case.workload:
        print(f"workload  {case.workload.name or 'unnamed'}: {case.workload.einsum}")
    if case.design:
        levels = ", ".join((*case.design.architecture.names, case.design.architecture.compute.name))
        print(f"design    {case.design.name or 'unnamed'}: {levels}")
    if case.variants:
        open_at = ", ".join(choice.path for choice in case.variants[0].choices)
        print(f"design    {len(case.variants):,} variants, by the choices at {open_at}")
    if case.mapping:
        print(f"mapping\n{render(case.mapping)}")
    for line in (*case.ignored, *case.notes):
        print(f"- {line}")
    print("no faults")


@app.command()
def diff(
    first: ResultPath,
    second: ResultPath,
    tolerance: Annotated[float, typer.Option(help="relative difference that counts as none", min=0)] = 0.0,
) -> None:
    """Lay two results, or two comparisons, side by side: what differs, and by what factor. Exit code 1 if anything does."""
    from sparseloom.report.compare import of_files, text

    found = of_files(first, second, tolerance)
    print(text(found, (str(first), str(second))))
    raise typer.Exit(1 if found else 0)


@app.command()
def schema(
    kind: Annotated[Literal["design", "workload", "network", "mapping", "constraints", "result"], typer.Argument()],
) -> None:
    """Print the JSON Schema of a kind of file, for editors and other programs."""
    import importlib
    import json

    homes = {
        "design": "arch.file", "workload": "workload.file", "network": "workload.network_file",
        "mapping": "mapping.file", "constraints": "mapping.constraint_file", "result": "results.file",
    }  # fmt: skip
    module = importlib.import_module(f"sparseloom.{homes[kind]}")
    print(json.dumps(module.schema(), indent=2))


@app.command()
def describe(
    design: Annotated[str, typer.Argument(help="a published design, or the file of one", metavar="[DESIGN]")] = "",
) -> None:
    """Describe a design, published or of a file; without a name, list the published ones, and the cases to run on them."""
    from sparseloom import designs
    from sparseloom.designs.describe import describe as words

    if design:
        print(words(*designs.find(design)))
        return
    print("\n  ".join(("designs", *designs.names())))
    print("\n  ".join(("cases, for `sparseloom evaluate`", *designs.cases())))


@app.command()
def reproduce(
    what: Annotated[
        str,
        typer.Argument(help="validation (the thesis' Table 4.3), a figure, as fig6-9, or all; without it, a list"),
    ] = "",
    masks: Annotated[Path | None, typer.Option(metavar="FOLDER", help="L13_weights.txt, L13_iacts.txt ...")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            metavar="PATH",
            help="write the figure of a study to this file: .pdf, .svg, .png; of all, a page: .html",
        ),
    ] = None,
    json: JsonPath = None,
    jobs: Annotated[int, typer.Option(min=0, help="processes of a study; 0: as many as there are processors")] = 0,
) -> None:
    """Compute published results again and lay them beside what the papers and the thesis report.

    A study holds its figures against what was published, by tolerances that were set before it was run: exit code 1 if one fails.
    `all` computes every study; files are written after each, so that an interrupt loses none.
    """
    from sparseloom import document
    from sparseloom.report.study import STUDIES, study
    from sparseloom.report.validation import validate

    document.require_writable(json, output)
    if not what:
        print("\n  ".join(("studies", "all", "validation", *STUDIES)))
        return
    _announce_compilation()
    if what == "all":
        from sparseloom.reproduce_command import reproduce_all

        raise typer.Exit(reproduce_all(jobs, json, output))
    if what != "validation":
        held = study(what, jobs or os.cpu_count() or 1)
        if json is not None:
            held.to_json(json)
        if output is not None:
            held.to_figure(output)
        print(held)
        raise typer.Exit(0 if held.holds else 1)
    found = validate(masks)
    if json is not None:
        found.to_json(json)
    print(found)
