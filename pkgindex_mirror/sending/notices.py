"""The requests that tell other servers of an upload. Pure: a commit and the indexes in, requests out.

    uploadtrigger_jenkins   a form with a script that tests the release, as devpi-jenkins sends it; {pkgname} and {pkgversion} in the URL
    slack_hook              a line of text, as devpi-slack sends it, with the picture slack_icon and the name slack_user
    upload_webhook          a JSON document, for pushes too

Each file has one notice. There is none for files that the program itself commits (imports, mirrors), nor for changes of stored files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from pkgindex_core.changes import Commit, PutFile
from pkgindex_core.clock import to_rfc3339
from pkgindex_core.errors import Refused
from pkgindex_core.formats.fragments import file_path
from pkgindex_core.models import IndexConfig, Tree
from pkgindex_core.protocols.index_types import IndexOption
from pkgindex_core.rules.option_values import text
from pkgindex_core.urls import without_credentials
from pkgindex_mirror import urls

JENKINS: Final = "uploadtrigger_jenkins"
SLACK: Final = "slack_hook"
GENERIC: Final = "upload_webhook"
RECEIVERS: Final = (JENKINS, SLACK, GENERIC)
"""The options that name a receiver. They may hold a token, so they are secrets."""

SLACK_ICON: Final = "http://doc.devpi.net/latest/_static/devpicat.jpg"
SLACK_USER: Final = "devpi"
_ANONYMOUS = "[anonymous]"


class Notice(Struct, frozen=True, kw_only=True):
    """One request to send. Its repr has no URL, which may contain a token."""

    url: str
    """Without user and password."""
    authorization: str = ""
    fields: Mapping[str, str] = {}
    """The text fields of a form."""
    script: str = ""
    """The file of a form. With one, the form is multipart."""
    json: bytes = b""
    about: str
    """The name of the notice in the log."""
    redirect_is_success: bool = False

    def __repr__(self) -> str:
        return f"Notice({self.about!r})"


def has_receivers(tree: Tree) -> bool:
    """Whether any index has a receiver."""
    return any(config.options.get(key) for config in tree.indexes.values() for key in RECEIVERS)


def notices(commit: Commit, tree: Tree, public_url: str) -> tuple[Notice, ...]:
    """The notices of a commit, in the order of its changes."""
    if commit.who.startswith("[") and commit.who != _ANONYMOUS:
        return ()
    found: list[Notice] = []
    for change in commit.changes:
        if isinstance(change, PutFile):
            config = tree.indexes.get(change.index)
            if config is not None and any(config.options.get(key) for key in RECEIVERS):
                found.extend(_notices(commit, change, config, public_url))
    return tuple(found)


def index_options() -> Mapping[str, tuple[str, IndexOption]]:
    """The options of an index that name and describe its receivers."""
    return {
        JENKINS: (
            "URL of a Jenkins job to build after an upload; {pkgname} and {pkgversion} in it are replaced",
            IndexOption(parse=partial(receiver, JENKINS), secret=True),
        ),
        SLACK: (
            "URL of a Slack hook that is told of uploads",
            IndexOption(parse=partial(receiver, SLACK), secret=True),
        ),
        "slack_icon": ("URL of the picture beside messages to Slack", IndexOption(parse=text)),
        "slack_user": ("the name under which messages to Slack appear", IndexOption(parse=text)),
        GENERIC: (
            "URL that gets a JSON document for each upload and push",
            IndexOption(parse=partial(receiver, GENERIC), secret=True),
        ),
    }


def receiver(option: str, value: Any) -> str:
    """Check the URL of a receiver. The error does not repeat it, since it may be a secret."""
    url = str(value).strip()
    if not url:
        return ""
    filled = _filled(url, "demo", "1.0")
    if urls.cleaned(filled) is None:
        raise Refused(f"'{option}' option must be a URL.", hint="write it as https://host/path")
    return url


def _notices(commit: Commit, change: PutFile, config: IndexConfig, public_url: str) -> Iterator[Notice]:
    file = change.file
    event = file.history[-1].what if file.history else "upload"
    about = f"{file.filename} in {config.name}"
    options = config.options
    index_url = f"{public_url.rstrip('/')}/{config.name}"
    if options.get(GENERIC) and event in {"upload", "push"}:
        yield _notice(options[GENERIC], about, json=_document(commit, change, event, index_url))
    if event != "upload":
        return
    if options.get(SLACK):
        message = {
            "text": f"Uploaded {change.project}=={file.version} to {index_url}",
            "icon_url": options.get("slack_icon") or SLACK_ICON,
            "username": options.get("slack_user") or SLACK_USER,
        }
        yield _notice(options[SLACK], about, fields={"payload": msgspec.json.encode(message).decode()})
    if options.get(JENKINS):
        parameter = {"parameter": {"name": "jobscript.py", "file": "file0"}}
        yield _notice(
            _filled(options[JENKINS], change.project, file.version),
            about,
            fields={"Submit": "Build", "name": "jobscript.py", "json": msgspec.json.encode(parameter).decode()},
            script=_SCRIPT.replace("INDEX_URL", repr(index_url)).replace(
                "SPECIFICATION", repr(f"{change.project}=={file.version}")
            ),
            redirect_is_success=True,  # Jenkins redirects to the page of the job
        )


def _notice(url: str, about: str, **content: Any) -> Notice:
    plain, credentials = without_credentials(url)
    return Notice(url=plain, authorization=urls.basic(credentials) if credentials else "", about=about, **content)


def _filled(url: str, project: str, version: str) -> str:
    return url.replace("{pkgname}", quote(project, safe="")).replace("{pkgversion}", quote(version, safe=""))


def _document(commit: Commit, change: PutFile, event: str, index_url: str) -> bytes:
    file = change.file
    last: Sequence[Any] = file.history[-1:]
    return msgspec.json.encode(
        {
            "event": event,
            "serial": commit.serial,
            "at": to_rfc3339(commit.at),
            "who": next((each.who for each in last), ""),
            "index": change.index,
            "source": next((each.source for each in last), ""),
            "project": change.project,
            "version": file.version,
            "filename": file.filename,
            "size": file.size,
            "sha256": file.sha256,
            "url": f"{index_url}/{file_path(file)}",
        }
    )


_SCRIPT = '''\
"""Made for one upload: tests it with devpi's client, in an environment that is thrown away."""

import os
import pathlib
import subprocess
import sys
import tempfile
import venv

INDEX = INDEX_URL
WHAT = SPECIFICATION

with tempfile.TemporaryDirectory() as place:
    venv.create(place, with_pip=True)
    programs = pathlib.Path(place, "Scripts" if os.name == "nt" else "bin")
    client = ["--clientdir", str(pathlib.Path(place, "client"))]
    pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--index-url", INDEX + "/+simple/"]
    subprocess.check_call([*pip, "devpi-client", "tox"])
    os.environ["PATH"] = str(programs) + os.pathsep + os.environ["PATH"]
    devpi = str(programs / "devpi")
    subprocess.check_call([devpi, "use", *client, INDEX])
    sys.exit(subprocess.call([devpi, "test", *client, WHAT]))
'''
