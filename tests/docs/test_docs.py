"""What the documentation names is there: commands, options, files, links, modules and settings."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel, ValidationError

from kneeimg.cli import app
from kneeimg.settings.foreign_model import ForeignModelFile
from kneeimg.settings.study import StudyFile
from kneeimg.settings.trial import TrialSettings

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "models").rglob("*.md"),
        *(ROOT / "sample_data").glob("*.md"),
    ]
)
#: What lies in the results of a run, and not in the repository.
TREES = ("kneeimg", "docs", "scripts", "configs", "tests", "benchmarks", "models", "sample_data")
COMMANDS = typer.main.get_command(app)


@dataclass(frozen=True)
class Text:
    """A piece of code in a page, and whether it stands in a line of its own."""

    page: str
    line: int
    code: str
    whole: bool

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.code}"


def pieces(path: Path) -> Iterator[Text]:
    """Code blocks, line by line, and inline code."""
    page, fenced = path.relative_to(ROOT).as_posix(), False
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield Text(page, number, line.strip(), True)
        if not fenced:
            for code in re.findall(r"`([^`\n]+)`", line):
                yield Text(page, number, code, False)


CODE = [piece for path in PAGES for piece in pieces(path)]


def calls() -> list[Text]:
    """Every call of kneeimg, without what explains it to the right."""
    found = []
    for piece in CODE:
        code = re.sub(r"[][]| …", "", re.split(r" {2,}| # | → | > ", piece.code)[0]).rstrip(".")
        match = re.search(r"(?:^|-m )(kneeimg [a-z].*)", code)
        if match:
            found.append(Text(piece.page, piece.line, match[1], piece.whole))
    return found


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words name, and the words that are left."""
    command: Any = COMMANDS
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, f"there is no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def check_call(call: Text) -> None:
    """Command, options and number of arguments of a call."""
    command, words = command_of(shlex.split(call.code)[1:])
    options = {name: p for p in command.params for name in p.opts if name.startswith("-")}
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    given, named = 0, set()
    while words:
        word, words = words[0], words[1:]
        if word in ("...", "…"):
            return
        if not word.startswith("-"):
            given += 1
            continue
        name, _, value = word.partition("=")
        assert name in options, f"there is no option {name}"
        named.add(options[name].name)
        if not options[name].is_flag and not value:
            assert words or not call.whole, f"{name} has no value"
            words = words[1:]
    assert given <= len(arguments), "more arguments than the command takes"
    if call.whole:
        assert given >= sum(p.required for p in arguments), "an argument is missing"
        missing = {p.name for p in options.values() if p.required} - named
        assert not missing, f"without {missing}"


def test_pages_were_found_and_hold_code() -> None:
    assert {"README.md", "docs/study.md"} <= {p.relative_to(ROOT).as_posix() for p in PAGES}
    assert len(calls()) > 50


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_call_of_kneeimg_is_one_that_it_takes(page: Path) -> None:
    wrong = []
    for call in calls():
        if call.page == page.relative_to(ROOT).as_posix():
            try:
                check_call(call)
            except (AssertionError, ValueError) as error:
                wrong.append(f"{call}  {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("words", ["runn X -o Y", "run X -o Y --modle m", "run X", "run -o Y"])
def test_a_wrong_call_is_noticed(words: str) -> None:
    with pytest.raises(AssertionError):
        check_call(Text("x.md", 1, f"kneeimg {words}", True))


def test_every_example_in_the_help_is_one_that_kneeimg_takes() -> None:
    wrong = []
    for name, command in walk(COMMANDS, "kneeimg"):
        text = command.help or ""
        for line in re.findall(r"(?:^ +|Example: )(kneeimg [a-z].*)$", text, re.MULTILINE):
            code = re.split(r" {2,}| > ", line)[0].rstrip(".")
            if code.count('"') % 2:  # the example goes on in the next line
                continue
            try:
                check_call(Text(name, 0, code, False))
            except AssertionError as error:
                wrong.append(f"{name}: {code}  {error}")
    assert not wrong, "\n".join(wrong)


def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """A command and all below it."""
    yield name, command
    for child, below in getattr(command, "commands", {}).items():
        yield from walk(below, f"{name} {child}")


def anchors(path: Path) -> set[str]:
    """Names of the headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", head.lower()) for head in heads]
    return {head.strip().replace(" ", "-") for head in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert not broken


def test_every_page_is_linked_from_the_readme() -> None:
    linked = re.findall(r"\]\((docs/[\w-]+\.md)\)", (ROOT / "README.md").read_text("utf-8"))
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} == set(linked)


def test_every_extra_that_is_named_can_be_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = set(project["optional-dependencies"])
    named = {name for piece in CODE for name in re.findall(r"kneeimg\[([\w-]+)\]", piece.code)}
    assert named == extras - {"dev"}


def tracked() -> set[str]:
    """Files of the repository and their folders."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:  # not a checkout: what is there has to do
        names = [p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*")]
    else:
        names = listed.stdout.splitlines()
    return {part.as_posix() for name in names for part in (Path(name), *Path(name).parents)}


def test_every_file_that_is_named_is_there() -> None:
    known, missing = tracked(), []
    pattern = re.compile(rf"(?<![\w/.-])((?:{'|'.join(TREES)})/[\w./*<>-]*[\w*>])")
    for piece in CODE:
        for name in pattern.findall(piece.code):
            wanted = re.escape(name).replace(r"\*", "[^/]*").replace("<name>", "[^/]+")
            # a page about models names the files of one from its folder
            places = (name, f"models/knee_mr/{name}")
            if not known & set(places) and not any(re.fullmatch(wanted, at) for at in known):
                missing.append(f"{piece.page}:{piece.line}: {name}")
    assert not missing, "\n".join(missing)


def test_every_script_takes_the_options_that_are_named() -> None:
    wrong = []
    for piece in CODE:
        match = re.search(r"python3? ((?:scripts|benchmarks)/\w+\.py)(.*)", piece.code)
        if not match:
            continue
        source = (ROOT / match[1]).read_text("utf-8")
        wrong += [
            f"{piece}: {option}"
            for option in re.findall(r"(?<!\S)(--?[a-z][\w-]*)", match[2])
            if f'"{option}"' not in source and f"{option} " not in source
        ]
    assert not wrong, "\n".join(wrong)


def test_every_module_and_name_is_there() -> None:
    wrong = []
    for piece in CODE:
        for dotted in re.findall(r"(?<![\w/.])kneeimg(?:\.\w+)+", piece.code):
            if not exists(dotted.split(".")):
                wrong.append(f"{piece.page}:{piece.line}: {dotted}")
    assert not wrong, "\n".join(wrong)


def exists(parts: list[str]) -> bool:
    """Whether a module, or a name at the top of one, is in the package."""
    path, rest = ROOT, list(parts)
    while rest and (path / rest[0]).is_dir():
        path, rest = path / rest[0], rest[1:]
    if rest and (path / f"{rest[0]}.py").is_file():
        path, rest = path / f"{rest[0]}.py", rest[1:]
    else:
        path = path / "__init__.py"
    return path.is_file() and (not rest or rest[0] in names_in(path))


def names_in(path: Path) -> set[str]:
    """Names that a module defines or imports at its top."""
    names: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


#: What the TOML of a page is, where it is not a study file or a part of one.
MODELS: dict[str, type[BaseModel]] = {
    "# knee.toml": ForeignModelFile,
    'primary = ["MFTC_ThCtAB_aMe"]': TrialSettings,
}


def toml_blocks() -> list[tuple[str, str]]:
    """Page and content of every fenced block of TOML."""
    pattern = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [(p.name, block) for p in PAGES for block in pattern.findall(p.read_text("utf-8"))]


@pytest.mark.parametrize("page, block", toml_blocks(), ids=[name for name, _ in toml_blocks()])
def test_every_settings_file_of_the_docs_is_valid(page: str, block: str) -> None:
    model = MODELS.get(block.splitlines()[0], StudyFile)
    model.model_validate(tomllib.loads(block))
    # what is commented out is valid too
    model.model_validate(tomllib.loads(re.sub(r"^# (?=\w+ = )", "", block, flags=re.MULTILINE)))


def test_a_wrong_key_in_the_docs_would_be_noticed() -> None:
    with pytest.raises(ValidationError):
        StudyFile.model_validate(tomllib.loads("[change]\nprecisoin = 'none'"))
    assert len(toml_blocks()) >= 6
    assert {block.splitlines()[0] for _, block in toml_blocks()} >= set(MODELS)
