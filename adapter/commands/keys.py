"""``idp-adapter keys``: who may read, post and manage, by tokens that are made and revoked while the service runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer

from adapter.commands.client import Client, run, tell
from adapter.commands.columns import Column, fitted, plain
from adapter.commands.options import At, grouped
from adapter.commands.output import console_of_output, say, write_json
from adapter.commands.timestamps import InUtc, shown_time, shown_zone
from adapter.formats.text import harmless
from adapter.settings import Permission

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke keys: tokens for people and programs.")

Json = Annotated[bool, typer.Option("--json", help="As JSON: the service's answer.")]


@app.callback()
def _group() -> None:
    pass


@app.command("create")
@grouped
def create(
    name: Annotated[str, typer.Option("--name", help="Its name; what its holder changes is told with it.")],
    can: Annotated[
        list[str] | None,
        typer.Option(
            "--can", help=f"What its holder may: {', '.join(Permission)}; with commas between, default: read."
        ),
    ] = None,
    realm: Annotated[
        list[str] | None,
        typer.Option("--realm", metavar="[SOURCE/]REALM", help="Only what is of this realm. Repeatable, as the next."),
    ] = None,
    source: Annotated[list[str] | None, typer.Option("--source", help="Only what is of this source.")] = None,
    provider: Annotated[list[str] | None, typer.Option("--provider", help="Only what is of this provider.")] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="WHEN", help="In how long it ends: 8h, 90d, 1y; or a timestamp with zone."),
    ] = None,
    json: Json = False,
    *,
    at: At,
) -> None:
    """Make a key. Its token is shown this once: the service keeps a digest of it alone.

    For example: idp-adapter keys create --name siem --can read,export --realm acme --expires 90d
    """
    given: dict[str, Any] = {"name": name, "permissions": _split(can) or ["read"]}
    limits = {"realms": realm, "sources": source, "providers": provider}
    given |= {what: values for what, values in limits.items() if values}
    if expires is not None:
        given["expires"] = expires
    made = run(lambda client: client.ask("POST", "/keys", given), at)
    if json:
        write_json([orjson.dumps(made)])
        return
    ends = "" if made["expiresAt"] is None else f"; it ends at {shown_time(made['expiresAt'], shown_zone(False))}"
    say(f"made the key {made['name']}: may {', '.join(made['permissions'])}{_limited(made)}{ends}", err=True)
    say("its token, shown this once:", err=True)
    say(made["token"])


@app.command("list")
@grouped
def list_keys(
    json: Json = False,
    utc: InUtc = False,
    sessions: Annotated[
        bool, typer.Option("--sessions", help="Who is signed in to the console, too: browsers' sessions.")
    ] = False,
    *,
    at: At,
) -> None:
    """Show all keys: what each may, its limits, who made it, when it ends, and when it was used last.

    For example: idp-adapter keys list
    """

    async def asking(client: Client) -> Any:
        found = await client.ask("GET", "/keys")
        return {**found, **await client.ask("GET", "/sessions")} if sessions else found

    found = run(asking, at)
    if json:
        write_json([orjson.dumps(found)])
        return
    tell(found["warnings"])
    if found["keys"]:
        _show(found["keys"], shown_zone(utc))
    else:
        say("there are no keys; make one: idp-adapter keys create --name NAME --can read")
    if sessions:
        say("")
        _show_sessions(found["sessions"], shown_zone(utc))


@app.command("revoke")
@grouped
def revoke(name: Annotated[str, typer.Argument(help="The key.")], *, at: At) -> None:
    """Revoke a key: from now on its token is refused, and answers that are being written to it are broken off.

    For example: idp-adapter keys revoke siem
    """
    run(lambda client: client.ask("DELETE", f"/keys/{quote(name, safe='')}"), at)
    say(f"key {harmless(name)}: revoked")


def _show_sessions(sessions: Sequence[dict[str, Any]], zone: tzinfo | None) -> None:
    if not sessions:
        say("nobody is signed in to the console; a link that signs in: idp-adapter console link")
        return
    console = console_of_output()
    console.print(
        fitted(
            [
                Column("SIGNED IN", [plain(one["name"]) for one in sessions], 64, 12),
                Column("BY", [plain(one["by"]) for one in sessions], 8, 4),
                Column("SINCE", [plain(shown_time(one["createdAt"], zone)) for one in sessions], 25, 20, 1),
                Column("UNTIL", [plain(shown_time(one["expiresAt"], zone)) for one in sessions], 25, 20, 2),
                Column("ID", [plain(one["id"]) for one in sessions], 24, 24, 3),
            ],
            console.width,
        )
    )


def _split(said: Sequence[str] | None) -> list[str]:
    return [word.strip() for text in said or () for word in text.split(",") if word.strip()]


def _limited(key: dict[str, Any]) -> str:
    told = "; ".join(f"{what} {', '.join(key[what])}" for what in ("realms", "sources", "providers") if key[what])
    return f"; limited to {told}" if told else ""


def _show(keys: Sequence[dict[str, Any]], zone: tzinfo | None) -> None:
    def times(what: str, otherwise: str) -> list[Any]:
        return [plain(otherwise if one[what] is None else shown_time(one[what], zone)) for one in keys]

    used = ["-" if one["managed"] == "settings" else "never" for one in keys]
    console = console_of_output()
    console.print(
        fitted(
            [
                Column("NAME", [plain(one["name"]) for one in keys], 64, 12),
                Column("MAY", [plain(", ".join(one["permissions"])) for one in keys], 48, 16, wrapped=True),
                Column(
                    "LIMITED TO", [plain(_limited(one).removeprefix("; limited to ")) for one in keys], 40, 10, 2,
                    wrapped=True,
                ),
                Column(
                    "ENDS",
                    [
                        plain("has ended", "red") if one["expired"] else cell
                        for one, cell in zip(keys, times("expiresAt", "never"), strict=True)
                    ],
                    25, 20, 1,
                ),
                Column(
                    "USED LAST",
                    [
                        plain(word) if one["lastUsedAt"] is None else cell
                        for one, cell, word in zip(keys, times("lastUsedAt", ""), used, strict=True)
                    ],
                    25, 20, 3,
                ),
                Column(
                    "MADE BY",
                    [plain("adapter.toml" if one["managed"] == "settings" else one["createdBy"]) for one in keys],
                    32, 10, 4,
                ),
            ],
            console.width,
        )
    )  # fmt: skip
