"""Samples of the pages: commands are those that there are, with options that they take, and Python runs."""

import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import typer
from markdown_it import MarkdownIt

import ex4d
from ex4d.cli.app import build_app
from ex4d.geometry.depth_video import load_depth_npz, save_depth
from ex4d.media.movie import write_movie

REPO = Path(__file__).parents[2]
PAGES = sorted([REPO / "README.md", REPO / "CONTRIBUTING.md", *REPO.glob("docs/*.md")])
SHELL = re.compile(
    r"^\s*(\w+=\S+ )*(\S*/)?(sudo|ex4d|make|pip|python[\d.]*|blender|cp|docker|ssh|hf|useradd|ufw|ray) ", re.M
)
PYTHON = re.compile(r"^(import|from) \w", re.MULTILINE)
TARGETS = set(re.findall(r"^([a-z][\w-]*):", (REPO / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
EXTRAS = set(tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"])
OWN_TEST = "extending.md"
"""Its samples need the packages that it makes; tests/test_extending.py installs and runs them."""


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each block of code; of one that names no language, what it looks like."""
    found = []
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        if token.type in ("fence", "code_block"):
            language = token.info.split()[0] if token.info else ""
            if not language:
                language = "shell" if SHELL.search(token.content) else ""
            if not language:
                language = "python" if PYTHON.search(token.content) else ""
            found.append((language, token.content))
    return found


def commands(text: str) -> list[list[str]]:
    """The commands of a block, as words, without comments, redirections and what is set for one command alone."""
    joined = re.sub(r"\\\n\s*", " ", text)
    found = []
    for line in joined.splitlines():
        for part in re.split(r" (?:&&|;|\|) ", re.sub(r" >>? ?\S+", "", line)):
            words = shlex.split(part, comments=True)
            while words and (re.match(r"\w+=", words[0]) or words[0] == "sudo"):
                words = words[3:] if words[:2] == ["sudo", "-u"] else words[1:]
            if words:
                found.append(words)
    return found


def trouble(words: list[str]) -> str:
    """Why a command cannot be as it is written; "" where nothing is known against it."""
    program, rest = words[0].rpartition("/")[2], words[1:]
    if program == "docker" and rest[0] == "run":
        image = next(n for n, word in enumerate(rest) if word == "ex4d" and rest[n - 1] != "--name")
        return refused(rest[image + 1 :])
    if program == "ex4d":
        return refused(rest)
    if program == "make":
        return "".join(f"no target {word}" for word in rest if "=" not in word and word not in TARGETS)
    if program == "pip":
        return pip_trouble(rest)
    if program.startswith("python") and rest and rest[0].endswith(".py") and not (REPO / rest[0]).is_file():
        return f"no script {rest[0]}"
    if program.startswith("python") and rest[:2] == ["-m", "venv"]:
        return ""
    if program == "cp" and not (REPO / rest[0]).exists():
        return f"no file {rest[0]}"
    return ""


def refused(words: list[str]) -> str:
    """What the command line has against these words; nothing of it runs."""
    command, context = typer.main.get_command(build_app()), None
    rest = words
    try:
        while True:
            context = command.make_context("ex4d", list(rest), parent=context)
            if not hasattr(command, "resolve_command"):
                return ""
            _, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    except Exception as error:  # of Typer's own click
        if type(error).__name__ in ("Exit", "NoArgsIsHelpError"):
            return ""
        return f"ex4d {' '.join(words)}: {getattr(error, 'message', error)}"


def pip_trouble(words: list[str]) -> str:
    """Extras and files that are not there; what a release has is called by its name there."""
    for word in words:
        for extra in (e for found in re.findall(r"\[([\w,]+)\]", word) for e in found.split(",")):
            if extra not in EXTRAS:
                return f"no extra {extra}"
    for option, file in pairwise(words):
        if option in ("-c", "-r") and not any(
            (folder / Path(file).name).is_file() for folder in (REPO, REPO / "locks")
        ):
            return f"no file {file}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_the_page_is_one(page):
    shell = [text for language, text in blocks(page) if language in ("shell", "bash", "sh", "console")]
    for text in shell:
        said = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
        assert said.returncode == 0, said.stderr
    if page.name == OWN_TEST:
        return
    assert [why for text in shell for words in commands(text) if (why := trouble(words))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_in_the_text_of_the_page_is_one(page):
    text = re.sub(r"\s+", " ", page.read_text(encoding="utf-8"))
    wrong = []
    for code in re.findall(r"(?<!`)`(ex4d [^`]+)`(?!`)", text):
        words = code.replace("…", " ").split()[1:]
        command = typer.main.get_command(build_app())
        while hasattr(command, "commands") and words and not words[0].startswith("-"):
            found = command.commands.get(words.pop(0))
            if found is None:
                wrong.append(code)
                break
            command = found
        else:
            taken = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
            wrong += [f"{code}: {w}" for w in words if w.startswith("--") and w not in {*taken, "--help", "--version"}]
    assert wrong == []


def test_what_cannot_be_run_is_seen():
    assert trouble(["ex4d", "generate", "--no_such_option", "1"])
    assert trouble(["ex4d", "no-such-command"])
    assert trouble(["ex4d", "server", "no-such-command"])
    assert trouble(["make", "no-such-target"])
    assert trouble(["pip", "install", ".[no_such_extra]"])
    assert trouble(["/opt/ex4d/bin/pip", "install", "-c", "no-such-file.txt", "."])
    assert trouble(["python3", "scripts/no_such_script.py"])
    assert not trouble(["ex4d", "generate", "--input_video", "clip.mp4", "--output_video", "out.mp4"])


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder with what the samples use: the sample, a clip of its first frames, and its depth as a shot keeps it."""
    folder = tmp_path_factory.mktemp("samples")
    (folder / "sample").mkdir()
    for name in ("clip.mp4", "clip.depth.npz"):
        shutil.copy(REPO / "sample" / name, folder / "sample")
    shot = ex4d.open_clip(folder / "sample" / "clip.mp4", frames=5)
    write_movie(folder / "clip.mp4", shot.clip.frames, shot.clip.fps)
    np.savez(folder / "clip.depth.npz", depth=shot.estimate.depth.depth)
    save_depth(folder / "depth.npz", shot.estimate.depth, packed=True)
    return folder


@pytest.fixture
def server(tmp_path):
    """The address of a server."""
    command = [sys.executable, "-m", "ex4d_server", "--address", "tcp://127.0.0.1:0", "--state", tmp_path / "state"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield re.search(r"tcp://\S+", process.stdout.readline())[0]
        process.terminate()


def python_samples() -> list[tuple[str, str]]:
    """Page and text of each page's Python, its blocks one after the other."""
    found = {page.name: [text for language, text in blocks(page) if language == "python"] for page in PAGES}
    return [(name, "\n".join(texts)) for name, texts in found.items() if texts and name != OWN_TEST]


@pytest.mark.parametrize(("page", "text"), python_samples(), ids=lambda part: part if part.endswith(".md") else "")
def test_the_python_of_the_page_runs(page, text, files, monkeypatch, server):
    monkeypatch.chdir(files)
    (files / "sample_of_page.py").write_text(
        text if page != "protocol.md" else text.replace("tcp://127.0.0.1:5750", server)
    )
    made = runpy.run_path("sample_of_page.py")
    if page == "formats.md":
        assert np.array_equal(np.stack(made["depth"]), load_depth_npz(files / "depth.npz").depth)
