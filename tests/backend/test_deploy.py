"""What docs/another-host.md offers for a GPU box, as far as it can be checked without one."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ex4d.cli.app import build_app
from ex4d.jobs.address import parse_address

REPO = Path(__file__).parents[2]
DEPLOY, PAGE = REPO / "deploy", REPO / "docs" / "another-host.md"


def options(command: list[str]) -> dict[str, str]:
    return dict(zip(command[::2], command[1::2], strict=True))


def test_the_unit_is_one_that_systemd_takes(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    unit = tmp_path / "ex4d.service"
    text = (DEPLOY / "ex4d.service").read_text()
    assert "/opt/ex4d/bin/ex4d serve" in text
    unit.write_text(text.replace("/opt/ex4d/bin/ex4d", sys.executable))  # systemd checks that the program exists
    ran = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_unit_and_container_start_the_same_server_at_the_ports_that_the_page_opens():
    unit = re.search(r"^ExecStart=(.*)$", (DEPLOY / "ex4d.service").read_text(), re.MULTILINE)
    program, serve, *given = shlex.split(unit[1])
    container = (DEPLOY / "Dockerfile").read_text()
    assert f'ENTRYPOINT ["{program}"]' in container
    assert re.search(r"^CMD \[(.*)\]$", container, re.MULTILINE)[1] == ", ".join(
        f'"{word}"' for word in [serve, *given]
    )
    port = parse_address(options(given)["--address"])[1]
    assert f"EXPOSE {port} {port + 1}" in container
    assert f"port {port}:{port + 1}" in PAGE.read_text()


def test_every_command_of_the_page_is_one_of_the_program():
    from typer.main import get_command

    app = get_command(build_app())
    commands = re.findall(r"\bex4d ((?:server|hosts|serve|models)\b(?: [a-z]+\b)?)", PAGE.read_text())
    assert len(commands) > 12
    for words in map(str.split, commands):
        assert words[0] in app.commands
        if words[0] in ("server", "hosts") and len(words) == 2:
            assert words[1] in app.commands[words[0]].commands, words
