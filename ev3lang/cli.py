"""The command line: arguments, exit statuses, and the words for what the machine refuses.

Whatever costs start-up time is imported by the command that needs it: `check` and `--help` load
neither jax nor numpy, nor anything that only a mistake calls for.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import click

from ev3lang import __version__, files, regular
from ev3lang.catalog.signature import LARGEST_SEED
from ev3lang.diagnostics.diagnostic import FORMATS, Diagnostic, has_errors, summary
from ev3lang.diagnostics.suggest import nearest
from ev3lang.files import SpecText
from ev3lang.outcome import Outcome
from ev3lang.printable import printable, printable_json, printable_lines, written_json
from ev3lang.project import parts_of_others
from ev3lang.signals import end_of, handled
from ev3lang.source import Source

if TYPE_CHECKING:
    from ev3lang.compile import Experiment

STARTED_S = time.perf_counter()

DONE, FINDINGS, USAGE, FAILURE, BUG = 0, 1, 2, 6, 70

# A document is whole even where all is well, and nothing else may stand beside it.
DOCUMENTS = ("json", "gitlab", "junit", "sarif")
DEVICES = ("auto", "cpu", "gpu", "tpu")

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


STANDARD_OUTPUT = "standard output"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command that the arguments name and leaves with its exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # a terminal that can't show a character gets another in its place, not a traceback
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    status = _invoke(given)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader has seen enough
        _drop_output()
    except OSError as error:
        _drop_output()
        if status == DONE:
            _complain(_words(OSError(error.errno, error.strerror, STANDARD_OUTPUT)))
            status = FAILURE
    sys.exit(status)


def _drop_output() -> None:
    """Lets what is left to write go nowhere: the flush at exit must not fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _whoever_reads() -> Iterator[None]:
    """What a run came to is its status, whether or not anyone can read it."""
    try:
        yield
    except OSError:
        _drop_output()


def _open_closed_streams() -> None:
    """Opens those of the three standard streams that the command was started without.

    The system would give the number of a closed one to the next file, a run's log for example,
    and what libraries print would go into it. Input and output are opened the wrong way round, so
    that reading and writing fail as on any other closed file; errors are dropped.
    """
    for number, (name, flags, mode) in enumerate(
        (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w"))
    ):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, flags)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _invoke(arguments: Sequence[str]) -> int:
    try:
        with commands.make_context("ev3lang", list(arguments)) as context:
            return int(commands.invoke(context) or DONE)
    except click.exceptions.Exit as left:
        return left.exit_code
    except click.UsageError as error:
        if document := _document_asked(arguments):
            _print_diagnostics([Diagnostic("usage", error.format_message(), None)], document)
        else:
            _complain(error.format_message())
            if error.ctx is not None:
                _say(f"  see {error.ctx.command_path} --help", is_error=True)
        return USAGE
    except KeyboardInterrupt as stop:
        _end_at_once(end_of(stop))
    except click.Abort:
        _end_at_once(Outcome.INTERRUPTED)
    except BrokenPipeError:
        # the reader has seen enough
        _drop_output()
        return DONE
    except OSError as error:
        document = _document_asked(arguments)
        if document and error.filename != STANDARD_OUTPUT:
            _print_diagnostics([Diagnostic(files.UNREADABLE, _words(error), None)], document)
        else:
            _complain(_words(error))
        return FAILURE
    except Exception as error:
        if _is_out_of_memory(error):
            _complain(
                "there is not enough memory on this machine, or for this process",
                "free some, or raise the limit of the process (`ulimit -v`)",
            )
            return FAILURE
        # The one place that catches all: a user reads words and a path, never a traceback.
        return _report_bug(error)


def _leave(status: int) -> NoReturn:
    """Ends the process at once: threads may compute for long, and exits wait for them."""
    for stream in (sys.stdout, sys.stderr):
        # one that is closed, gone, or at work where a signal came
        with suppress(OSError, ValueError, RuntimeError, AttributeError):
            stream.flush()
    os._exit(status)


def _end_at_once(end: Outcome) -> NoReturn:
    """What a signal does where no run is in progress: nothing is left to be written."""
    with suppress(OSError):
        # not by a stream, in the middle of whose work a signal may come
        os.write(2, f"ev3lang: {end.name.lower()}\n".encode())
    _leave(end.exit_status)


@click.group(context_settings=HELP)
@click.version_option(__version__, message="ev3lang %(version)s")
def commands() -> None:
    """Run and check training experiments written as .ev3 specs."""


# ---------------------------------------------------------------- run


@commands.command()
@click.argument("spec", metavar="SPEC")
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="auto",
    show_default=True,
    help="Where to compute; auto takes the fastest kind that is there.",
)
@click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    help="Give a param of the spec another value; may be repeated.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0, max=LARGEST_SEED),
    help="Another seed than the spec's, from 0 to 4294967295.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to write to: new or empty. Without it: runs/NAME-HASH-N.",
)
@click.option(
    "--allow-python",
    metavar="PACKAGE",
    multiple=True,
    help="Let the code of this package run, where the spec names it; may be repeated.",
)
@click.option("--quiet", is_flag=True, help="Show nothing but errors and the final report's path.")
@handled(_end_at_once)
def run(
    spec: str,
    device: str,
    settings: tuple[str, ...],
    seed: int | None,
    out: Path | None,
    allow_python: tuple[str, ...],
    quiet: bool,
) -> int:
    """Run SPEC to its end and show the report."""
    _require_address_space()
    from ev3lang.analysis import analyze
    from ev3lang.compile import experiment

    overrides = _overrides(settings)
    path = Path(spec)
    _require_file(path)
    if out is not None:
        _require_free(out)
    source, found = read_source(path)
    if source is None:
        _print_diagnostics(found, "text", is_error=True)
        return FINDINGS
    analysis = analyze(source, overrides, seed=seed)
    if has_errors(analysis.refusals) or not quiet:
        _print_diagnostics(analysis.refusals, "text", is_error=True)
    if has_errors(analysis.refusals):
        return FINDINGS
    asked = experiment(analysis)
    run_all = _sweep if asked.is_sweep else _run
    return run_all(asked, overrides, device, out, allow_python, is_quiet=quiet)


def _run(
    asked: Experiment,
    overrides: dict[str, str],
    device: str,
    out: Path | None,
    allow_python: tuple[str, ...],
    *,
    is_quiet: bool,
) -> int:
    from ev3lang.backend.modules import ModuleError
    from ev3lang.runtime.device import DeviceError
    from ev3lang.runtime.faults import DataError, MemoryFault, WeightsError
    from ev3lang.runtime.run import run
    from ev3lang.runtime.terminal import display, show_report

    shown = display(sys.stdout, is_quiet=is_quiet)
    try:
        result = run(
            asked.plan,
            asked.source,
            overrides=overrides,
            on=device,
            out=out,
            listen=shown,
            import_s=time.perf_counter() - STARTED_S,
            allow_python=allow_python,
        )
    except (DataError, DeviceError, MemoryFault, ModuleError, WeightsError) as error:
        shown.close()
        _complain(str(error), error.help)
        is_spec_fault = isinstance(error, (DataError, ModuleError)) and error.is_spec_fault
        return FINDINGS if is_spec_fault else FAILURE
    except OSError as error:
        shown.close()
        return _unwritable("run", error)
    finally:
        shown.close()
    with _whoever_reads():
        if is_quiet:
            _say(printable(str(result.folder)))
        else:
            show_report(result.report, str(result.folder), sys.stdout)
    if result.stopped is not None:
        _leave(result.exit_status)
    return result.exit_status


def _sweep(
    asked: Experiment,
    overrides: dict[str, str],
    device: str,
    out: Path | None,
    allow_python: tuple[str, ...],
    *,
    is_quiet: bool,
) -> int:
    from ev3lang.runtime.device import DeviceError
    from ev3lang.runtime.sweep import sweep
    from ev3lang.runtime.terminal import display, show_sweep

    shown = display(sys.stdout, is_quiet=is_quiet)
    try:
        result = sweep(
            asked.points,
            asked.source,
            overrides=overrides,
            on=device,
            out=out,
            listen=shown,
            import_s=time.perf_counter() - STARTED_S,
            allow_python=allow_python,
        )
    except DeviceError as error:
        _complain(str(error), error.help)
        return FAILURE
    except OSError as error:
        shown.close()
        return _unwritable("sweep", error)
    finally:
        shown.close()
    with _whoever_reads():
        if is_quiet:
            _say(printable(str(result.folder)))
        else:
            show_sweep(result.report, str(result.folder), sys.stdout)
    if result.stopped is not None:
        _leave(result.exit_status)
    return result.exit_status


def _unwritable(what: str, error: OSError) -> int:
    is_full = errno.errorcode.get(error.errno or 0) in ("ENOSPC", "EDQUOT", "EFBIG")
    first = "make room there, or " if is_full else ""
    _complain(
        f"the {what}'s files can't be written: {_words(error)}",
        f"{first}choose another folder with --out",
    )
    return FAILURE


# ---------------------------------------------------------------- check


@commands.command()
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True)
@click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    help="Give a param of the specs another value; may be repeated.",
)
@click.option(
    "--output-format",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="For people, one line each for logs, or for machines.",
)
@click.option(
    "--output-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write what is found into FILE, and only a summary to the terminal.",
)
@click.option("--fix", "is_fixing", is_flag=True, help="First apply the fixes that are safe.")
def check(
    specs: tuple[str, ...],
    settings: tuple[str, ...],
    output_format: str,
    output_file: Path | None,
    is_fixing: bool,
) -> int:
    """Check SPECs, and every .ev3 file of a folder, without data and without running.

    A file that another of them uses is checked as a part of that one.
    """
    from ev3lang.analysis import analyze

    overrides = _overrides(settings)
    paths, left_out = _spec_files(specs)
    found = list(left_out)
    if output_file is not None and (output_file in paths or output_file.suffix == ".ev3"):
        raise click.UsageError(f"--output-file {output_file} would overwrite a spec")
    # All of them before any is checked: one may use another.
    fixed = [_fix(path, overrides, found) for path in paths] if is_fixing else []
    sources: dict[Path, Source] = {}
    for path in paths:
        text = _text_of(path, found)
        if text is not None:
            sources[path] = text.source
    parts = parts_of_others(sources)
    for path, source in sources.items():
        if path not in parts:
            found += analyze(source, overrides).diagnostics
    # What is wrong in a file that several use is said once; each has read a source of its own.
    found = list({(each.code, each.message, repr(each.span)): each for each in found}.values())
    names = tuple(str(path) for path in paths)
    if output_file is None:
        _print_diagnostics(found, output_format, files=names)
    else:
        _write_diagnostics(found, output_format, names, output_file)
    is_document = output_file is None and output_format in DOCUMENTS
    if is_fixing:
        _say(_fixed_words(fixed, found), is_error=is_document)
    if not is_document:
        _say(f"{_number(len(paths), 'file')} checked: {summary(found)}")
    if files.are_refused(found):
        return FAILURE
    return FINDINGS if has_errors(tuple(found)) else DONE


# A fix may make room for another, but not for ever.
FIX_PASSES = 10


def _fix(path: Path, overrides: dict[str, str], found: list[Diagnostic]) -> int:
    """Applies the safe fixes of a spec, those too that only come up then, and counts them.

    found   gets what kept the file from being written; what keeps it from being read is found
            when it is checked
    """
    from ev3lang.analysis import analyze
    from ev3lang.diagnostics.fixes import apply_safe

    text = _text_of(path, [])
    if text is None:
        return 0
    source, total = text.source, 0
    for _ in range(FIX_PASSES):
        mended, applied = apply_safe(source, analyze(source, overrides).diagnostics)
        if not applied:
            break
        source, total = Source(source.name, mended), total + applied
    if source.text == text.source.text:
        return 0
    return total if _is_replaced(path, text.spelled(source.text), found) else 0


def _fixed_words(fixed: Sequence[int], left: Iterable[Diagnostic]) -> str:
    """What `--fix` did and what it left alone, as in `2 fixes applied in 1 file, 1 unsafe left`."""
    unsafe = sum(any(fix.safety == "unsafe" for fix in each.fixes) for each in left)
    where = f" in {_number(sum(map(bool, fixed)), 'file')}" if any(fixed) else ""
    # Those are shown as possible fixes: a person has to choose.
    return f"{_number(sum(fixed), 'fix', 'fixes')} applied{where}, {unsafe} unsafe left"


def _number(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _spec_files(specs: Sequence[str]) -> tuple[tuple[Path, ...], tuple[Diagnostic, ...]]:
    """The files named and those in the folders named, and what is wrong with other entries."""
    paths: dict[Path, None] = {}
    faults: list[Diagnostic] = []
    for path in map(Path, specs):
        if not path.is_dir():
            _require_file(path)
            paths[path] = None
            continue
        found = files.find(path)
        if not found.files and not has_errors(found.faults):
            others = "; ".join(each.message for each in found.faults)
            raise click.UsageError(
                f"no .ev3 file in folder {path}" + (f": {others}" if others else "")
            )
        paths.update(dict.fromkeys(found.files))
        faults += found.faults
    return tuple(paths), tuple(faults)


# ---------------------------------------------------------------- plan


@commands.command()
@click.argument("spec", metavar="SPEC")
@click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    help="Give a param of the spec another value; may be repeated.",
)
@click.option(
    "--output-format",
    type=click.Choice(("text", "json")),
    default="text",
    show_default=True,
    help="For people or for machines.",
)
def plan(spec: str, settings: tuple[str, ...], output_format: str) -> int:
    """Show what a run of SPEC would cost and what gains it could prove, without running it.

    Candidates, parameters, operations, memory, the rule of acceptance, and the smallest gain that
    the split can show, with as much data and with more.
    """
    from ev3lang.analysis import analyze

    overrides = _overrides(settings)
    path = Path(spec)
    _require_file(path)
    source, found = read_source(path)
    if source is not None:
        analysis = analyze(source, overrides)
        found = analysis.refusals
    is_refused = source is None or has_errors(found)
    if is_refused:
        _print_diagnostics(found, output_format, is_error=output_format == "text")
        return FINDINGS
    _print_diagnostics(found, "text", is_error=True)
    from ev3lang.compile import experiment
    from ev3lang.explain.preview import document, explain_preview
    from ev3lang.plan.show import point_costs, preview

    runs = experiment(analysis)
    first = preview(runs.points[0].plan)
    points = point_costs(runs.points) if runs.is_sweep else ()
    if output_format == "json":
        _say(written_json(document(first, points)))
    else:
        _say(explain_preview(first, points))
    return DONE


# ---------------------------------------------------------------- fmt


@commands.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option("--check", "is_check", is_flag=True, help="Only list the files that would change.")
@click.option("--diff", "is_diff", is_flag=True, help="Only show what would change, as a patch.")
@click.option("--explicit", "is_explicit", is_flag=True, help="Write every default into the spec.")
def fmt(paths: tuple[str, ...], is_check: bool, is_diff: bool, is_explicit: bool) -> int:
    """Put specs into the one layout: PATHs, every .ev3 file of a folder, or - for a filter.

    Without PATH: the current folder. A file with mistakes of syntax is left alone, and they are
    shown. --check and --diff write no file, and fail if one would change.
    """
    if "-" in paths and len(paths) > 1:
        raise click.UsageError("- reads one spec from standard input: it stands without PATHs")
    is_filter = paths == ("-",)
    is_writing = not (is_check or is_diff)
    paths_found, left_out = ((Path("-"),), ()) if is_filter else _spec_files(paths or (".",))
    found = list(left_out)
    changed = 0
    for path in paths_found:
        given = _text_of(path, found)
        if given is None:
            continue
        text, faults = _formatted(given.source, is_explicit=is_explicit)
        if text is None:
            found += faults
            continue
        text = given.spelled(text)
        is_changed = text != given.as_written
        if is_filter and is_writing:
            _write_out(text)
        elif is_changed and is_diff:
            _show_patch(str(path), given.as_written, text)
        elif is_changed and is_check:
            _say(f"would change {printable(str(path))}")
        elif is_changed and (is_changed := _is_replaced(path, text, found)):
            _say(f"changed {printable(str(path))}")
        changed += is_changed
    _print_diagnostics(found, "text", is_error=True)
    if not (is_filter or is_diff):
        count = _number(len(paths_found), "file")
        _say(f"{count}, {changed} {'changed' if is_writing else 'to change'}")
    if files.are_refused(found):
        return FAILURE
    return FINDINGS if has_errors(tuple(found)) or (changed and not is_writing) else DONE


def _text_of(path: Path, found: list[Diagnostic]) -> SpecText | None:
    """The text of a spec, `-` for standard input; None, and `found` says why, without one."""
    try:
        text, faults = (
            files.read_filtered(sys.stdin.buffer) if str(path) == "-" else files.read(path)
        )
    except OSError as error:
        text, faults = None, (files.refused(path, error),)
    found += faults
    return text


def _is_replaced(path: Path, text: str, found: list[Diagnostic]) -> bool:
    """Writes a spec; False, and `found` says why, where it can't be written."""
    try:
        files.replace(path, text)
    except OSError as error:
        found.append(files.refused(path, error))
        return False
    return True


def _formatted(source: Source, *, is_explicit: bool) -> tuple[str | None, tuple[Diagnostic, ...]]:
    """The text in the one layout, or None and why there is none."""
    if is_explicit:
        from ev3lang.explicit import explicit_source

        return explicit_source(source)
    from ev3lang.syntax.format import format_source
    from ev3lang.syntax.parse import parse

    text = format_source(source)
    return text, parse(source)[1] if text is None else ()


def _show_patch(name: str, before: str, after: str) -> None:
    """What formatting changes, as `git apply` and `patch` read it.

    Characters that a terminal doesn't show are replaced; a warning says that the patch no
    longer applies.
    """
    import difflib

    # with their line ends as they are: a carriage return alone ends no line of a patch
    old, new = (list(io.StringIO(text, newline="\n")) for text in (before, after))
    shown = printable(name)
    is_exact = True
    for line in difflib.unified_diff(old, new, shown, shown):
        content = line.removesuffix("\n")
        end = "\r" if content.endswith("\r") else ""
        sign, mark = content[:1], files.MARK if content[1:2] == files.MARK else ""
        text = content[1 + len(mark) : len(content) - len(end)]
        clean = printable_lines(f"{sign}{text}")
        is_exact = is_exact and clean == f"{sign}{text}"
        _write_out(f"{sign}{mark}{clean[1:]}{end}\n", is_clean=True)
        if not line.endswith("\n"):
            _write_out("\\ No newline at end of file\n", is_clean=True)
    if not is_exact:
        words = "has characters that can't be shown, so its patch does not apply"
        _complain(f"{name} {words}", f"format it without --diff: ev3lang fmt {name}")


# ---------------------------------------------------------------- report, explain


@commands.command()
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
def report(folder: Path) -> int:
    """Show the report of the run or the sweep in folder RUN again."""
    _require_address_space()
    from ev3lang.runtime import codec, sweep_report
    from ev3lang.runtime import report as run_report
    from ev3lang.runtime.terminal import show_report, show_sweep

    is_sweep = (folder / "sweep.json").is_file()
    path = folder / ("sweep.json" if is_sweep else "report.json")
    if not path.is_file():
        has_weights = (folder / "accepted").is_dir()
        so_far = f"; what it accepted so far is in {folder / 'accepted'}" if has_weights else ""
        raise click.UsageError(
            f"no report.json in {folder}: not the folder of a finished run{so_far}"
        )
    help = "copy the folder again, or run again"

    def shown(document: codec.Json) -> codec.Json:
        return codec.Json(printable_json(document.value), document.at)

    try:
        if is_sweep:
            swept = codec.load(
                path, "a report", help, lambda each: sweep_report.from_document(shown(each))
            )
            show_sweep(swept, str(folder), sys.stdout)
        else:
            found = codec.load(
                path, "a report", help, lambda each: run_report.from_document(shown(each))
            )
            show_report(found, str(folder), sys.stdout)
    except codec.FormatFault as error:
        _complain(str(error), error.help)
        return FAILURE
    return DONE


@commands.command()
@click.argument("subject", metavar="SPEC|NAME|CODE")
def explain(subject: str) -> int:
    """Explain a spec in plain English, a built-in by its name, or a diagnostic's code.

    Of a SPEC: what would run, with every default that is in force and where it came from. Of a
    NAME such as adamw: what it takes and gives, with an example.
    """
    if subject.endswith(".ev3") or Path(subject).is_file():
        return _explain_spec(Path(subject))
    from ev3lang.diagnostics.page import codes, page
    from ev3lang.explain.builtin import explain_builtin, names

    text = page(subject) or explain_builtin(subject)
    if text is None:
        near = nearest(subject, (*codes(), *names()))
        hint = f"; did you mean {near}?" if near else ""
        raise click.UsageError(f"{subject!r} is no spec, no built-in and no code{hint}")
    _say(text.rstrip("\n"))
    return DONE


def _explain_spec(path: Path) -> int:
    from ev3lang.analysis import analyze
    from ev3lang.explain.spec import explain_spec

    _require_file(path)
    source, found = read_source(path)
    if source is not None:
        analysis = analyze(source)
        if not has_errors(analysis.diagnostics):
            _say(explain_spec(analysis))
            return DONE
        found = analysis.diagnostics
    _print_diagnostics(found, "text", is_error=True)
    return FINDINGS


# ---------------------------------------------------------------- new


@commands.command()
@click.argument("name", metavar="[NAME]", required=False)
@click.option(
    "--data",
    required=True,
    metavar="DATA",
    help="A .csv, .npz or .parquet file, or a source such as sklearn.digits.",
)
@click.option(
    "--target",
    metavar="FIELD",
    help="What to predict; without it label, target, class or y, else the last that can be.",
)
@click.option(
    "--task",
    type=click.Choice(("classification", "regression")),
    help="How the target is learned; without it, as what its values look like.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write it to FILE, which must be new; without it, the spec is shown.",
)
def new(
    name: str | None,
    data: str,
    target: str | None,
    task: Literal["classification", "regression"] | None,
    out: Path | None,
) -> int:
    """Write a first spec for DATA: an experiment NAME with its schema filled in.

    The spec is checked and the data are read with it before it is written.
    """
    _require_address_space()
    from ev3lang.new.spec import new_spec
    from ev3lang.new.table import NewSpecError
    from ev3lang.runtime.faults import DataError

    path = Path(data)
    if path.is_dir():
        raise click.UsageError(f"{data} is a folder, not a file")
    if path.suffix.lower() in (".csv", ".npz", ".parquet") and not path.exists():
        raise click.UsageError(f"no such file: {data}")
    if out is not None and (out.exists() or out.is_symlink()):
        raise click.UsageError(f"{out} is there already: choose a new file for --out")
    made = [] if out is None else _made_folders(out.parent)
    is_written = False
    try:
        draft = new_spec(name, data, target, task=task, out=out, ask=_asked_target())
        if out is not None:
            with out.open("x", encoding="utf-8") as file:
                file.write(draft.text)
        is_written = True
    except (NewSpecError, DataError) as error:
        _complain(str(error), error.help)
        return FINDINGS if isinstance(error, NewSpecError) else FAILURE
    finally:
        for folder in () if is_written else reversed(made):
            # another command may have put something there
            with suppress(OSError):
                folder.rmdir()
    if out is None:
        _write_out(draft.text)
    for note in draft.notes:
        _say(printable(note), is_error=True)
    _print_diagnostics(draft.warnings, "text", is_error=True)
    if out is not None:
        _say(f"wrote {printable(str(out))}, checked it and read the data with it")
    return DONE


def _made_folders(folder: Path) -> list[Path]:
    """The folders on the way to this one that weren't there, made now, the outermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        # another command may make it at the same time
        each.mkdir(exist_ok=True)
    return missing[::-1]


def _asked_target() -> Callable[[Sequence[str], str], str] | None:
    """Asks a person at a terminal what to predict; None where there is none."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(candidates: Sequence[str], likeliest: str) -> str:
        listed = ", ".join(map(repr, candidates))
        _say(printable(f"columns that can be predicted: {listed}"), is_error=True)
        # the name itself is the answer, and may have characters that a terminal obeys
        question = f"which one is to be predicted? [{printable(likeliest)}]"
        answer: str = click.prompt(question, default=likeliest, show_default=False, err=True)
        return answer

    return ask


# ---------------------------------------------------------------- reading


def read_source(path: Path) -> tuple[Source | None, tuple[Diagnostic, ...]]:
    """The text of a spec, or one diagnostic that says which byte is no UTF-8 text."""
    text, faults = files.read(path)
    return (None if text is None else text.source), faults


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise click.UsageError(f"{path} is a folder, not a spec")
    if not path.exists():
        if path.is_symlink():
            raise click.UsageError(f"{path} is a link that leads to no file")
        raise click.UsageError(f"no such file: {path}")


def _require_free(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()):
        raise click.UsageError(f"folder {out} is not empty")
    if out.exists() and not out.is_dir():
        raise click.UsageError(f"{out} is {regular.kind_of(out)}, not a folder")


def _overrides(settings: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` texts as a mapping; what they mean is the checker's to say."""
    overrides: dict[str, str] = {}
    for setting in settings:
        name, sign, value = setting.partition("=")
        name, value = name.strip(), value.strip()
        if not (sign and name and value):
            raise click.UsageError(f"--set {setting!r} is not NAME=VALUE")
        if name in overrides:
            raise click.UsageError(f"--set gives {name} twice")
        overrides[name] = value
    return overrides


# ---------------------------------------------------------------- writing


def _echo(text: str | bytes, *, is_error: bool = False, color: bool = False) -> None:
    """Writes a text that is fit to be shown. Raises OSError of the standard output alone.

    If standard error can't be written, the message is dropped.
    """
    try:
        click.echo(text, nl=False, err=is_error, color=color)
    except BrokenPipeError:
        if not is_error:
            raise
    except OSError as error:
        if not is_error:
            raise OSError(error.errno, error.strerror, STANDARD_OUTPUT) from error


def _say(text: str, *, is_error: bool = False) -> None:
    """Writes lines for people, without what a terminal or a CI system would obey."""
    _echo(printable_lines(f"{text}\n"), is_error=is_error)


def _complain(message: str, help: str | None = None) -> None:
    """Says on one line of standard error what is wrong, and on the next what to do."""
    _say(f"ev3lang: {printable(message)}", is_error=True)
    if help is not None:
        _say(f"  {printable(help)}", is_error=True)


def _write_out(text: str, *, is_clean: bool = False) -> None:
    """Writes a text for a file or another program as it is; a terminal shows it as `_say` does."""
    is_exact = is_clean or not sys.stdout.isatty()
    _echo((text if is_exact else printable_lines(text)).encode())


def _print_diagnostics(
    diagnostics: Iterable[Diagnostic],
    output_format: str,
    *,
    is_error: bool = False,
    files: Sequence[str] = (),
) -> None:
    diagnostics = tuple(diagnostics)
    if not diagnostics and output_format not in DOCUMENTS:
        return
    import shutil

    from ev3lang.diagnostics.render import render

    stream = sys.stderr if is_error else sys.stdout
    width = shutil.get_terminal_size((100, 24)).columns
    color = _has_color(stream.isatty())
    text = render(diagnostics, output_format, color=color, width=width, files=files)
    is_parted = text and output_format == "text"
    _echo(f"{text}\n" if is_parted else text, is_error=is_error, color=color)


def _write_diagnostics(
    diagnostics: Iterable[Diagnostic], output_format: str, names: Sequence[str], path: Path
) -> None:
    from ev3lang.diagnostics.render import render

    text = render(tuple(diagnostics), output_format, color=False, width=100, files=names)
    files.replace(path, text)


def _has_color(is_terminal: bool) -> bool:
    """As https://no-color.org asks: any value of NO_COLOR but the empty one switches it off."""
    return is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _asked(arguments: Sequence[str], option: str) -> str | None:
    """What unreadable arguments give for an option, the last time they name it."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    values = [
        value if argument == option else argument.removeprefix(f"{option}=")
        for argument, value in pairs
        if argument == option or argument.startswith(f"{option}=")
    ]
    return values[-1] if values else None


def _document_asked(arguments: Sequence[str]) -> str | None:
    """The document that is expected on standard output, so that a complaint is one as well."""
    asked = _asked(arguments, "--output-format")
    is_elsewhere = _asked(arguments, "--output-file") is not None
    return asked if asked in DOCUMENTS and not is_elsewhere else None


def _words(error: OSError) -> str:
    if error.filename is None and error.errno == errno.ENOENT:
        # what the system says of it names nothing
        return "the current folder is gone: change to one that is there"
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


# How the system's linker and Python's threads say that the process may take no more memory.
NO_MEMORY = ("failed to map segment", "cannot allocate memory", "can't start new thread")


# What numpy, scipy and jax map when they are loaded, of which only a part is ever touched. With
# less, some of them end the process instead of raising an error.
LEAST_ADDRESS_SPACE_BYTES = 3 * 2**29


def _require_address_space() -> None:
    """Raises MemoryError where the libraries that compute could not even be loaded."""
    try:
        import resource
    except ImportError:
        # not a Unix: there is no such limit
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESS_SPACE_BYTES:
        raise MemoryError


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was missing: for an array, for a thread, or for a library to be loaded."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    return any(
        isinstance(each, MemoryError)
        or (
            isinstance(each, ImportError | RuntimeError | OSError)
            and any(words in str(each).lower() for words in NO_MEMORY)
        )
        for each in causes
    )


def _summary(error: Exception) -> str:
    """Kind and first line of an exception, without the notes that libraries put below it."""
    lines = str(error).strip().splitlines()
    return type(error).__name__ + (f": {lines[0]}" if lines else "")


def _report_bug(error: Exception) -> int:
    """Says that it is our fault and where the traceback is."""
    import tempfile
    import traceback

    words = "".join(traceback.format_exception(error))
    _complain(f"this is a bug in ev3lang, not in your spec: {_summary(error)}")
    if os.environ.get("EV3LANG_TRACEBACK"):
        _say(words, is_error=True)
        return BUG
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="ev3lang-traceback-",
            suffix=".txt",
            encoding="utf-8",
            errors="backslashreplace",
            delete=False,
        ) as file:
            file.write(f"ev3lang {__version__}, Python {sys.version}\n{words}")
    except OSError:
        # no folder takes a file
        _say(f"Please report it with the spec and this:\n{words}", is_error=True)
        return BUG
    _say(
        f"Please report it with the spec and the file {printable(file.name)}; "
        "EV3LANG_TRACEBACK=1 shows the same here.",
        is_error=True,
    )
    return BUG
