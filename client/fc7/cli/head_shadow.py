"""`fc7 head shadow`: a version answers beside the published one, out of sight."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.options import example, json_option, positive
from fc7.cli.output import counted, print_json, print_table, print_text

if TYPE_CHECKING:
    from fc7 import Shadow

_SHOWN = 10  # differing pictures


@example("fc7 head shadow places --version 2 --share 0.5")
@click.command()
@click.argument("name")
@click.option("--version", type=positive, help="Version to put into the shadow.")
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the live pictures that it answers. Defaults to 0.1.",
)
@click.option("--off", is_flag=True, help="End the shadow, and drop what was counted.")
@json_option
@connected
def shadow(
    connection: Connection, name: str, version: int | None, share: float | None, off: bool, as_json: bool
) -> None:
    """Let a version answer a share of the live pictures, out of sight.

    The answers stay those of the published version, and wait for nothing. The server counts how
    often the two agree, and keeps the last 200 pictures on which they differ: the hash and the
    three best classes of each, not the picture. Without --version and --off, the command shows
    what came out so far.
    """
    if off and (version is not None or share is not None):
        raise click.UsageError("--off stands alone")
    if share is not None and version is None:
        raise click.UsageError("--share needs --version")
    with connection.open() as client:
        if off:
            client.set_shadow(name, None)
            found = None
        elif version is not None:
            found = client.set_shadow(name, version, share=share or 0.1)
        else:
            found = client.shadow(name)
    if as_json:
        print_json({"name": name, "shadow": shadow_facts(found)})
    elif found is None:
        print_text(f"no version of head {name} is in the shadow")
    else:
        print_text(describe(found))
        if found.differing:
            print_text("")
            rows = [
                (one.sha256[:12], f"{one.published[0][0]} {one.published[0][1]:.3f}", _first(one.shadow), one.time)
                for one in found.differing[:_SHOWN]
            ]
            print_table(("picture", f"version {found.published_version}", f"version {found.version}", "time"), rows)
        if len(found.differing) > _SHOWN:
            print_text(f"and {len(found.differing) - _SHOWN} more, which --json lists")


def _first(top: list[tuple[str, float]]) -> str:
    return f"{top[0][0]} {top[0][1]:.3f}"


def describe(found: Shadow) -> str:
    """Return what came out of a shadow, in words."""
    share = f"{found.share:.0%}" if found.share >= 0.01 else f"{found.share:.2%}"
    text = f"version {found.version} answers {share} of the live pictures beside version {found.published_version}: "
    text += f"agreement {found.agreement} on {counted(found.count, 'picture')}" if found.count else "no picture yet"
    if found.passed_over:
        text += f", {found.passed_over} passed over"
    return text + (f". Last problem: {found.problem}" if found.problem else "")


def shadow_facts(found: Shadow | None) -> dict[str, object] | None:
    """Return a shadow as JSON has it."""
    if found is None:
        return None
    agreement = None if found.agreement is None else asdict(found.agreement)
    return asdict(found) | {"agreement": agreement}
