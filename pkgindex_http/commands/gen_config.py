"""`pkgindex-serve gen-config`: prints or writes the files with which nginx, systemd, containers and Kubernetes run the server."""

from __future__ import annotations

import functools
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from pkgindex_core.commands.helping import group
from pkgindex_core.commands.stores import data_option
from pkgindex_core.commands.telling import fail, talk
from pkgindex_core.errors import PkgIndexError, Refused
from pkgindex_core.installed import installed_version
from pkgindex_core.storage_failures import storage_failure
from pkgindex_http.commands.common import blobs_option, config_option, settings_from, store_option
from pkgindex_http.deploying.deployment import Deployment, deployment_of
from pkgindex_http.deploying.rendering import rendered

_OPTIONS = (
    click.option("--host", metavar="TEXT", help="The address on which the server listens."),
    click.option("--port", type=int, help="The port on which the server listens."),
    click.option("--workers", type=int, metavar="N", help="Processes that answer requests."),
    click.option("--outside-url", metavar="URL", help="URL of the server for its clients."),
    click.option("--trusted-proxies", metavar="NETWORK", multiple=True, help="Proxies whose headers count; repeatable."),
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), metavar="PLACE",
        help="Write into this directory, or this file if there is one only.  [default: print]",
    ),
    click.option("--force", is_flag=True, help="Replace files that exist."),
    data_option,
    config_option,
    store_option,
    blobs_option,
)  # fmt: skip


@group("gen-config")
def gen_config() -> None:
    """Print or write configuration files that run this server: for nginx, systemd, Docker, Kubernetes."""


def _made_of_settings(make: Callable[..., Mapping[str, str]]) -> Callable[..., None]:
    """Turn a function that makes files for a deployment into a command with the options of all."""

    @functools.wraps(make)
    def run(output: Path | None, force: bool, **options: Any) -> None:
        try:
            deployment = _deployment(options)
            _hand_out(make(deployment, **options), output, force=force)
        except PkgIndexError as error:
            fail(error)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run


@gen_config.command("nginx")
@_made_of_settings
@click.option(
    "--certificate",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The certificate of outside_url, with its chain.  [default: where certbot has it]",
)
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Its private key.  [default: beside it, as certbot names it]",
)
def nginx(deployment: Deployment, certificate: Path | None, key: Path | None) -> Mapping[str, str]:
    """Make the file for nginx before the server: TLS, HTTP/2, streamed uploads, and the location of accel_redirect."""
    place = Path("/etc/letsencrypt/live") / str(deployment.outside.hostname)
    certificate = certificate.absolute() if certificate else place / "fullchain.pem"
    files = rendered(
        ("nginx.conf",),
        deployment,
        certificate=certificate,
        key=key.absolute() if key else certificate.with_name("privkey.pem"),
    )
    if not deployment.settings.trusted_proxies:
        talk(
            'hint: so that the server knows its clients, set trusted_proxies = ["127.0.0.1"], or the address of this nginx'
        )
    return files


@gen_config.command("systemd")
@_made_of_settings
@click.option(
    "--user", default="pkgindex", show_default=True, metavar="NAME", help="The user of the system that runs the server."
)
def systemd(deployment: Deployment, user: str) -> Mapping[str, str]:
    """Make a unit of systemd that confines the server, and the unit of its socket."""
    return rendered(("pkgindex.service", "pkgindex.socket"), deployment, user=user)


@gen_config.command("docker")
@_made_of_settings
@click.option("--image", metavar="NAME", help="Name of the image.  [default: pkgindex:VERSION]")
def docker(deployment: Deployment, image: str | None) -> Mapping[str, str]:
    """Make a Dockerfile and a compose file: an unprivileged user, a volume for the data, a health check."""
    return rendered(("Dockerfile", "compose.yaml"), deployment, image=image or deployment.image, python=_python())


@gen_config.command("kubernetes")
@_made_of_settings
@click.option("--image", metavar="NAME", help="Name of the image.  [default: pkgindex:VERSION]")
@click.option("--storage", default="100Gi", show_default=True, metavar="SIZE", help="Size of the volume for the data.")
def kubernetes(deployment: Deployment, image: str | None, storage: str) -> Mapping[str, str]:
    """Make a Service, and a StatefulSet with a volume; with stores on other machines a Deployment of two servers."""
    return rendered(("kubernetes.yaml",), deployment, image=image or deployment.image, storage=storage)


def _deployment(options: dict[str, Any]) -> Deployment:
    """The server that the options describe. They are removed: those of the command itself stay."""
    names = ("host", "port", "workers", "outside_url", "trusted_proxies", "data", "store", "blobs")
    flags = {name: options.pop(name) for name in names}
    config = options.pop("config")
    settings = settings_from(config, **flags)
    given = {
        f"PKGINDEX_{name.upper()}": ",".join(value) if isinstance(value, tuple) else str(value)
        for name, value in flags.items()
        if value not in {None, ()}
    }
    if config is None and os.environ.get("PKGINDEX_CONFIG"):
        config = Path(os.environ["PKGINDEX_CONFIG"])
    return deployment_of(
        settings,
        program=_program(),
        config=config,
        environ={**os.environ, **given},
        version=installed_version("pkgindex"),
    )


def _program() -> tuple[str, ...]:
    """How this command was started, as a unit of systemd can say it."""
    started = Path(sys.argv[0]).absolute()
    if started.name == "pkgindex-serve":
        return (str(started),)
    beside = Path(sys.executable).with_name("pkgindex-serve")
    return (str(beside),) if beside.exists() else (sys.executable, "-m", "pkgindex_http")


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _hand_out(files: Mapping[str, str], output: Path | None, *, force: bool) -> None:
    if output is None:
        many = len(files) > 1
        click.echo("\n".join(f"# file: {name}\n{text}" if many else text for name, text in files.items()), nl=False)
        return
    if len(files) > 1 and not output.is_dir():
        raise Refused(
            f"--output: {output} is not a directory", hint=f"the files are {' and '.join(files)}: name a directory"
        )
    places = {output / name if output.is_dir() else output: text for name, text in files.items()}
    taken = [str(place) for place in places if os.path.lexists(place)]
    if taken and not force:
        raise Refused([f"{place} exists" for place in taken], hint="give --force to replace it, or another --output")
    for place, text in places.items():
        _write(place, text, force=force)
        talk(f"{place} written")


def _write(place: Path, text: str, *, force: bool) -> None:
    """Write a whole file or none. Without `force` a file that appeared meanwhile stays."""
    beside = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    try:
        try:
            beside.write_text(text, encoding="utf-8")
            if force:
                beside.replace(place)
            else:
                place.hardlink_to(beside)
        finally:
            beside.unlink(missing_ok=True)
    except FileExistsError as error:
        raise Refused(f"{place} exists", hint="give --force to replace it, or another --output") from error
    except OSError as error:
        raise storage_failure(error, f"writing {place}", place=str(place.parent)) from error
