"""The word that a service asks for."""

import os
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import UsageError

__all__ = ["VARIABLE", "read_token"]

#: Environment variable with the token.
VARIABLE = "SKYSIFT_TOKEN"

_LEAST = 16


def read_token(file: Path | None, environ: Mapping[str, str] = os.environ) -> str:
    """Return the token of a file, or of the environment; empty if neither says one.

    Parameters
    ----------
    file : Path, optional
        Text file that holds nothing else.
    environ : mapping
        Holds it as `VARIABLE`.

    Raises
    ------
    UsageError
        If the file cannot be read or may be read by others, or the token can be guessed or cannot be sent.
    """
    token, where = environ.get(VARIABLE, "").strip(), VARIABLE
    if file is not None:
        try:
            token, where = file.read_text().strip(), str(file)
            mode = file.stat().st_mode
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file}: {error}; write a token into it: openssl rand -hex 32 > {file}") from None
        if mode & 0o077:
            raise UsageError(f"{file} may be read by others; chmod 600 {file}")
    elif not token:
        return ""
    if len(token) < _LEAST or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"{where}: a token has at least {_LEAST} printable ASCII characters: openssl rand -hex 32")
    return token
