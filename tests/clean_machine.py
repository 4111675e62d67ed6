"""Install a release on a machine with nothing but Debian and Blender: python clean_machine.py dist/release (as root).

Sets up Debian in a folder with debootstrap, copies the files of the release into it, and follows docs/install.md there:
every command comes from that page. Installs and starts a server, installs the extension from the release's list and
updates it from there, and makes a take of the sample, on the command line and in Blender. The exit code is 0 if all of
this succeeds.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from markdown_it import MarkdownIt

REPO = Path(__file__).resolve().parents[1]
PAGE = REPO / "docs" / "install.md"
PLACE = "/srv/ex4d"
"""Where the page has the release."""
PACKAGES = "blender python3-venv ca-certificates python3-numpy python3-requests python3-zstandard python3-cattr"
"""Debian's Blender, with what its scripts import and its package does not bring, and a Python for the server."""
LATER = "99.0.0"

IN_BLENDER = """
import os, sys, bpy
import ex4d
assert "bl_ext.ex4d.ex4d" in bpy.context.preferences.addons, "the extension is not on"
assert "/extensions/" in ex4d.__file__, ex4d.__file__
bpy.ops.wm.save_as_mainfile(filepath="/srv/shot/shot.blend")
assert bpy.ops.ex4d.connect() is not None
bpy.ops.ex4d.open_clip(filepath="/srv/shot/clip.mp4")
bpy.ops.ex4d.camera_preset(preset="30")
bpy.ops.ex4d.generate()
bpy.ops.wm.save_mainfile()
print("take made", flush=True)
os._exit(0)
"""

LOOK = """
import sys
from pathlib import Path
from ex4d.media.clip import clip_info
from ex4d.pipeline import take
for folder in map(Path, sys.argv[1:]):
    record = take.read_record(folder / take.SIDECAR)
    info = clip_info(folder / take.RESULT)
    assert info.frames == record.frames > 1, (info, record.frames)
    print(folder.name, record.frames, "frames", f"{info.width}x{info.height}", record.generator, record.version)
"""


def blocks(title: str) -> list[list[str]]:
    """The commands of a chapter of the page, block by block."""
    text = PAGE.read_text(encoding="utf-8")
    chapter = re.split(r"^## ", text, flags=re.MULTILINE)
    (chosen,) = (part for part in chapter if part.startswith(f"{title}\n"))
    tokens = MarkdownIt("commonmark").parse(chosen)
    return [token.content.splitlines() for token in tokens if token.type == "code_block"]


def mirror() -> str:
    """Of Debian, as this machine's apt has it."""
    command = ["apt-get", "indextargets", "--format", "$(CREATED_BY) $(REPO_URI) $(COMPONENT)"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return next(
        uri
        for line in said.splitlines()
        if re.fullmatch(r"Packages \S+/debian/? main", line)
        for uri in line.split()[1:2]
    )


class Machine:
    """A Debian: a folder that is only read, and one above it with all that is written.

    Attributes:
        base: the Debian.
        files: what has been written.
    """

    def __init__(self, base: Path, files: Path) -> None:
        self.base, self.files = base, files
        for folder in (base, files, files.with_name("work"), files.with_name("root")):
            folder.mkdir(exist_ok=True)

    def make(self, suite: str, source: str) -> None:
        """Install Debian and Blender where they are not there yet, with this machine's way to the network."""
        if not (self.base / "usr/bin/apt-get").exists():
            # What debootstrap mounts is gone when it ends in any way.
            bootstrap = ["unshare", "--mount", "debootstrap", "--variant=minbase", suite, str(self.base), source]
            with self.files.with_name("debootstrap.log").open("w") as log:
                subprocess.run(bootstrap, check=True, stdout=log, stderr=log)
        self._copy_network_files()
        for folder in filter(os.path.isdir, ("/etc/xdg/pip", "/etc/apt/apt.conf.d")):
            shutil.copytree(folder, self.files / folder[1:])
        (self.files / PLACE[1:]).mkdir(parents=True, exist_ok=True)
        if not (self.base / "usr/bin/blender").exists():
            install = "DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends"
            self.run(f"apt-get update\n{install} {PACKAGES}")
            self._copy_network_files()  # the package ca-certificates has written its own list over ours

    def _copy_network_files(self) -> None:
        for file in filter(os.path.isfile, ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt")):
            (self.files / file[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, self.files / file[1:])

    def run(self, script: str, alone: bool = False) -> str:
        """Run a shell script there, in the release's folder; `alone` lets it reach nothing but itself.

        Raises:
            SystemExit: it failed; its last words are printed.
        """
        kept = ("http_proxy", "https_proxy", "no_proxy", *(name for name in os.environ if name.startswith("PIP_")))
        settings = [f"{name}={os.environ[name]}" for name in kept if name in os.environ]
        layers = f"lowerdir={self.base},upperdir={self.files},workdir={self.files.with_name('work')}"
        mounts = f'mount -t overlay overlay -o {layers} "$0" && mount -t proc proc "$0/proc"'
        mounts += ' && mount --rbind /dev "$0/dev"'
        shown = [folder for folder in ("/opt",) if os.path.isdir(folder) and "PIP_FIND_LINKS" in os.environ]
        for folder in shown:  # wheels on this machine's disk
            mounts += f' && mkdir -p "$0{folder}" && mount --bind {folder} "$0{folder}"'
        up = "ip link set lo up && " if alone else ""
        about = "PATH=/usr/bin:/bin:/usr/sbin HOME=/root LANG=C.UTF-8"
        inner = f'{mounts} && {up}exec chroot "$0" /usr/bin/env -i {about} "$@"'
        spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *(["--net"] if alone else [])]
        command = [
            *spaces,
            "sh",
            "-c",
            inner,
            str(self.files.with_name("root")),
            *settings,
            "sh",
            "-ec",
            f"cd {PLACE}\n{script}",
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1500)
        said = "\n".join(
            line for line in done.stdout.splitlines() if not line.startswith(("PROGRESS", "WARNING: Location"))
        )
        if done.returncode:
            print(said[-4000:])
            sys.exit(f"FAILED: {script}")
        return said


def publish_later(extensions: Path) -> None:
    """Put a later version of the extension into the list: the same with another number."""
    (zip_file,) = extensions.glob("ex4d-*-linux_x64.zip")
    later = extensions / f"ex4d-{LATER}-linux_x64.zip"
    with zipfile.ZipFile(zip_file) as old, zipfile.ZipFile(later, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename == "blender_manifest.toml":
                data = re.sub(rb"(?m)^version = .*$", f'version = "{LATER}"'.encode(), data, count=1)
            new.writestr(entry, data)
    listing = json.loads((extensions / "index.json").read_text(encoding="utf-8"))
    (entry,) = (about for about in listing["data"] if about["platforms"] == ["linux-x64"])
    digest = hashlib.sha256(later.read_bytes()).hexdigest()
    entry |= {"version": LATER, "archive_url": f"./{later.name}"}
    entry |= {"archive_size": later.stat().st_size, "archive_hash": f"sha256:{digest}"}
    (extensions / "index.json").write_text(json.dumps(listing), encoding="utf-8")


def main(release: Path, suite: str, source: str, base: Path | None) -> None:
    """All of it."""
    ((add, sync, install, update),) = blocks("In Blender")
    server, _hashed, (generate,), _torch = blocks("A server, or Python")
    *set_up, serve = server
    with tempfile.TemporaryDirectory(prefix="ex4d-clean-") as folder:
        machine = Machine(base or Path(folder) / "base", Path(folder) / "files")
        print(f"Debian {suite}, with Blender", flush=True)
        machine.make(suite, source)
        place = machine.files / PLACE[1:]
        shutil.copytree(release, place, dirs_exist_ok=True)
        (machine.files / "srv/shot").mkdir()
        for where in (place, machine.files / "srv/shot"):
            for name in ("clip.mp4", "clip.depth.npz"):
                shutil.copy(REPO / "sample" / name, where)
        print("The server, from", *set_up, sep="\n    ", flush=True)
        print(re.search(r"(?m)^ex4d .*$", machine.run("\n".join(set_up)))[0])
        print("The extension, from", add, sync, install, sep="\n    ", flush=True)
        said = machine.run("\n".join((add, sync, install)))
        assert 'Installed "ex4d"' in said, said
        print("A take by the command line, from", generate, sep="\n    ", flush=True)
        machine.run(generate, alone=True)
        print("A take in Blender, with", serve, sep="\n    ", flush=True)
        (machine.files / "srv/take.py").write_text(IN_BLENDER, encoding="utf-8")
        blender = "blender --background --python-exit-code 1 --python /srv/take.py"
        said = machine.run(f"{serve} > /srv/serve.log 2>&1 &\nsleep 5\n{blender}", alone=True)
        assert "take made" in said, said
        (machine.files / "srv/look.py").write_text(LOOK, encoding="utf-8")
        print(machine.run(f"ex4d-server/bin/python /srv/look.py {PLACE}/out.take /srv/shot/ex4d/*/takes/take_001"))
        publish_later(place / "extensions")
        machine.run(f"{sync}\n{update}")
        said = machine.run("cat /root/.config/blender/*/extensions/ex4d/ex4d/blender_manifest.toml")
        assert f'version = "{LATER}"' in said, said
        print(f"The extension was updated to {LATER} from the list")
    print("All of it is there.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", type=Path, help="folder of the release")
    parser.add_argument("--suite", default="trixie", help="release of Debian")
    parser.add_argument("--mirror", default="", help="mirror of Debian (default: that of this machine's apt)")
    parser.add_argument("--base", type=Path, help="folder with such a Debian, which is not changed")
    asked = parser.parse_args()
    main(asked.release.resolve(), asked.suite, asked.mirror or mirror(), asked.base)
