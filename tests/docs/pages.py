"""The blocks of a documentation page, and a reader who does what they say, in order, in a folder of their own.

========================================  ================================================================================
block                                     what the reader does
========================================  ================================================================================
``python``                                runs it in the page's namespace
``python title="a.py"``                   writes it to a.py: appended to the page's own blocks of that title, or, in a file
                                          that was there before the page, in place of the top-level names that it defines
any other ``title="a.yml"``               writes it to a.yml, or compares it with the a.yml that is there
``console``                               runs each ``$ command``; other lines are what it prints
``text``                                  compares it with what the block before it printed or raised
========================================  ================================================================================

What is printed may be wrapped otherwise; a line ``...`` stands for anything. A comment before a block says what is special:
``<!-- raises -->`` and ``<!-- exit 1 -->`` (or another code) that it fails, ``<!-- replaces -->`` that it takes the place of the names that
the page's own file has, ``<!-- not run: why -->`` that it cannot be run.
"""

from __future__ import annotations

import ast
import io
import linecache
import os
import re
import runpy
import shlex
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from fti_assets.stores.models.store import ModelStore
from tests.support.programs import called, modules_here

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)(?P<attributes>.*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_COMMENT = re.compile(r"<!-- (.+?) -->")
_BUILD = re.compile(r"v\d+/(\d{8}T\d{6}Z)-[0-9a-f]{8}")
_RUN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_IN_PROCESS = {"fti", "dagster"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Args:
        language: what stands after the fence.
        title: the file that it is, or None.
        notes: the comments right before it.
        text: what it holds.
        line: the line of the page on which it starts.
    """

    language: str
    title: str | None
    notes: tuple[str, ...]
    text: str
    line: int

    @property
    def not_run(self) -> str | None:
        """Why it is not run, if it is not."""
        return next((note.removeprefix("not run: ") for note in self.notes if note.startswith("not run: ")), None)


def blocks_of(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    lines, notes = iter(enumerate(page.read_text().splitlines(), start=1)), list[str]()
    for number, line in lines:
        fence = _FENCE.match(line)
        if fence is None:
            notes = [*notes, *_COMMENT.findall(line)] if not line.strip() or _COMMENT.search(line) else []
            continue
        inside: list[str] = []
        for _, inner in lines:
            if inner.strip() == "```":
                break
            inside.append(inner)
        title = _TITLE.search(fence["attributes"])
        text = textwrap.dedent("\n".join(inside) + "\n")
        yield Block(fence["language"], title and title[1], tuple(notes), text, number)
        notes = []


@dataclass
class Reader:
    """Somebody who follows a page in the current folder."""

    page: Path
    namespace: ModuleType = field(init=False)
    said: str = field(default="", init=False)
    written: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.namespace = ModuleType(f"page_{re.sub('[^a-z0-9]', '_', self.page.stem)}")

    def follow(self) -> None:
        """Do what every block says; an AssertionError names the page and line where something else came out."""
        sys.modules[self.namespace.__name__] = self.namespace
        try:
            for block in blocks_of(self.page):
                if block.not_run is None:
                    self._do(block)
        finally:
            self._forget(self.namespace.__name__, *modules_here())

    def _do(self, block: Block) -> None:
        if block.title is not None:
            self._write(block, Path(block.title))
        elif block.language == "python":
            self._run(block)
        elif block.language == "console":
            self._type(block)
        elif block.language == "text":
            self._compare(block, block.text)
        else:
            assert block.language in ("", "yaml"), f"{self._at(block)}: nobody knows what to do with {block.language!r}"

    def _write(self, block: Block, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        if block.title in self.written and "replaces" in block.notes:
            file.write_text(_redefined(file.read_text(), block.text))
        elif block.title in self.written:
            file.write_text(f"{file.read_text()}\n\n{block.text}")
        elif file.exists() and file.suffix == ".py":
            file.write_text(_redefined(file.read_text(), block.text))
            self._forget(file.stem)
            return
        elif file.exists():
            assert file.read_text() == block.text, f"{self._at(block)}: this is not what {file} holds"
        else:
            file.write_text(block.text)
        self.written.add(str(block.title))
        self._forget(file.stem)

    def _run(self, block: Block) -> None:
        name = f"<{self.page.name}:{block.line}>"
        linecache.cache[name] = (len(block.text), None, block.text.splitlines(keepends=True), name)
        printed = io.StringIO()
        raised: Exception | None = None
        with redirect_stdout(printed):
            try:
                exec(compile(block.text, name, "exec"), vars(self.namespace))
            except Exception as error:
                if "raises" not in block.notes:
                    raise
                raised = error
        assert ("raises" in block.notes) == (raised is not None), f"{self._at(block)}: nothing is raised"
        self.said = printed.getvalue()
        if raised is not None:
            self.said += f"{type(raised).__name__}: {raised}"

    def _type(self, block: Block) -> None:
        codes = (note.removeprefix("exit ") for note in block.notes if note.startswith("exit "))
        expected = int(next(codes, "0"))
        for command, output in _commands(block.text):
            words = [self._built(word) for word in shlex.split(os.path.expandvars(command))]
            code = self._execute(words)
            assert code == expected, f"{self._at(block)}: {command} ended with {code}:\n{self.said[-6000:]}"
            if output:
                self._compare(block, output)

    def _execute(self, words: list[str]) -> int:
        program, *arguments = words
        if program == "export":
            name, _, value = arguments[0].partition("=")
            os.environ[name] = value
            return 0
        if program in _IN_PROCESS:
            return self._call(program, arguments)
        if program == "python" and len(arguments) == 1 and arguments[0].endswith(".py"):
            return self._script(arguments[0])
        result = Path(sys.executable).with_name(program)
        done = subprocess.run(
            [str(result) if result.exists() else program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        self.said = done.stdout
        return done.returncode

    def _call(self, program: str, arguments: list[str]) -> int:
        """The program's own entry point, in this process: importing Dagster again takes seconds."""
        code, self.said = called(program, *arguments)
        return code

    def _script(self, file: str) -> int:
        """A script of the page as the main module, in this process: what it needs besides the library has been imported."""
        printed, code, modules_before = io.StringIO(), 0, set(sys.modules)
        with redirect_stdout(printed), redirect_stderr(printed):
            try:
                runpy.run_path(file, run_name="__main__")
            except Exception:
                traceback.print_exc()
                code = 1
        self._forget(*modules_here(set(sys.modules) - modules_before))
        self.said = printed.getvalue()
        return code

    def _compare(self, block: Block, expected: str) -> None:
        outcome, parts = (
            _plain(self.said),
            [_plain(part) for part in re.split(r"^\.\.\.$", expected, flags=re.MULTILINE)],
        )
        if len(parts) == 1:
            assert outcome == parts[0], f"{self._at(block)}: what comes out is\n{self.said}"
        place = 0
        for part in parts:
            result = outcome.find(part, place)
            assert result >= 0, f"{self._at(block)}: not found: {part}\nin:\n{self.said[-6000:]}"
            place = result + len(part)

    def _built(self, word: str) -> str:
        """A build's name has letters that nobody can know before: the build of that cutoff stands for it."""
        named = _BUILD.fullmatch(word)
        if named is None:
            return word
        models = ModelStore(".fti/models")
        results = [
            build.reference
            for model in models.models()
            for build in models.builds(model)
            if named[1] in build.reference
        ]
        assert len(results) == 1, f"{word} could be {results}"
        return results[0]

    def _forget(self, *modules: str) -> None:
        for module in modules:
            sys.modules.pop(module, None)

    def _at(self, block: Block) -> str:
        return f"{self.page.name}, line {block.line}"


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block and what it prints."""
    for part in re.split(r"^\$ ", text.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output.strip("\n")


def _plain(text: str) -> str:
    """Without what differs from run to run, wrapped or not."""
    text = _RUN.sub("<run>", _BUILD.sub(r"\1", text))
    return " ".join(text.split())


def _redefined(source: str, changes: str) -> str:
    """A module's source with other definitions of the same names; new names stand before the first of them."""
    old = {name: node for node in ast.parse(source).body for name in _names(node)}
    lines = source.splitlines(keepends=True)
    spans: dict[tuple[int, int], str] = {}
    new: list[str] = []
    for node in ast.parse(changes).body:
        text = "".join(changes.splitlines(keepends=True)[_first(node) : node.end_lineno])
        replaced = [old[name] for name in _names(node) if name in old]
        if replaced:
            spans[_first(replaced[0]), replaced[0].end_lineno or 0] = "".join([*(f"{one}\n\n" for one in new), text])
            new = []
        else:
            new.append(text)
    assert spans, "a block that changes a file must define a name that the file has"
    start, end = max(spans)
    spans[start, end] += "".join(f"\n\n{one}" for one in new)
    for (start, end), text in sorted(spans.items(), reverse=True):
        lines[start:end] = [text]
    return "".join(lines)


def _first(node: ast.stmt) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(one.lineno for one in decorators)]) - 1


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []
