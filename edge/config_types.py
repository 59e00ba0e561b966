"""The kinds of value that a configuration is made of, each with its pattern in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import ConfigDict, Field

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

_IDENTIFIER = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_NAME = r"^[a-z][a-z0-9_]{0,62}$"
DURATION = r"^(forever|[1-9][0-9]{0,8}(s|min|h|d|w))$"
GRADE = r"^([a-z0-9-]{1,32})?$"
PATTERN_WORDS: Mapping[str, str] = {
    _IDENTIFIER: "1 to 63 of a-z, 0-9 and '-', with no '-' at either end",
    _NAME: "1 to 63 of a-z, 0-9 and '_', beginning with a letter",
    GRADE: "up to 32 of a-z, 0-9 and '-'",
    DURATION: "'forever' or a whole number with s, min, h, d or w, such as '30d'",
}
"""What each pattern allows, in words for an error."""

Identifier = Annotated[str, Field(pattern=_IDENTIFIER)]
"""What may stand in an MQTT topic."""
Name = Annotated[str, Field(pattern=_NAME)]
"""A name of the vocabulary, such as ``heart_rate_bpm``."""
Duration = Annotated[str, Field(pattern=DURATION)]
"""``forever``, or a whole number with a unit: ``90s``, ``15min``, ``12h``, ``30d``, ``4w``."""
Text = Annotated[str, Field(min_length=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
