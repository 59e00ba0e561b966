"""``sign``: vouch for a bundle with a private key, or make such a key."""

from __future__ import annotations

import argparse
import getpass
import json
import os
from pathlib import Path

from converter.console import EXIT_DONE, add_json_option, say
from edge.errors import EdgeError

PASSWORD_VARIABLE = "VITALEDGE_KEY_PASSWORD"  # noqa: S105 - the name of a variable, not a password


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = verbs.add_parser(
        "sign",
        help="sign a bundle, or make a key to sign with",
        description="Sign a bundle's manifest with Ed25519. The private key never goes to a device; its public half goes "
        "into the trusted keys there.",
        epilog=f"The password of a key is asked for, or taken from ${PASSWORD_VARIABLE}.",
    )
    parser.add_argument("bundle", type=Path, nargs="?", help="folder of the bundle")
    parser.add_argument("--key", type=Path, metavar="PEM", help="private key")
    parser.add_argument("--new-key", type=Path, metavar="PEM", help="make a private key and print its public half")
    parser.add_argument("--owner", default="", metavar="NAME", help="whose key it is, with --new-key")
    parser.add_argument("--password", action="store_true", help="the key has a password, or is to have one")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Sign, or make a key."""
    from converter.sign import make_key, read_key, sign_bundle, trust_entry, write_key

    if (args.bundle is None) == (args.new_key is None) or (args.bundle is not None and args.key is None):
        raise EdgeError(
            "expected either a bundle and --key PEM, or --new-key PEM", hint="vitaledge-convert sign --help"
        )
    password = _password() if args.password else None
    if args.new_key is not None:
        if not args.owner:
            raise EdgeError("--new-key needs --owner", hint="the name that devices show: whose models they trust")
        key = make_key()
        try:
            write_key(args.new_key, key, password=password)
        except OSError as error:
            raise EdgeError(f"{args.new_key}: cannot be written: {error.strerror}") from error
        entry = trust_entry(key, args.owner)
        text = f"{args.new_key}: private, keep it; for the trusted keys of the devices:\n{json.dumps(entry, indent=1)}"
        say(text, {"key": str(args.new_key), "trusted_keys": entry}, as_json=args.json)
        return EXIT_DONE
    sha256 = sign_bundle(args.bundle, read_key(args.key, password=password))
    say(f"{args.bundle}: signed (sha256 {sha256})", {"bundle": str(args.bundle), "sha256": sha256}, as_json=args.json)
    return EXIT_DONE


def _password() -> bytes:
    given = os.environ.get(PASSWORD_VARIABLE)
    return (given if given is not None else getpass.getpass("password of the key: ")).encode()
