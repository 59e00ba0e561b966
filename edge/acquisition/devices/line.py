"""How the serial line of one kind of device is set; every module here has such a constant, named ``LINE``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Parity = Literal["N", "E", "O"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSettings:
    """Speed and frame of a UART; without flow control, which none of the devices uses.

    Raises
    ------
    ValueError
        If a value is not one that a UART knows.
    """

    baud: int
    """Symbols per second."""
    parity: Parity = "N"
    """``N`` none, ``E`` even, ``O`` odd, as pyserial names them."""
    stop_bits: Literal[1, 2] = 1
    data_bits: Literal[7, 8] = 8

    def __post_init__(self) -> None:
        if self.baud <= 0:
            raise ValueError(f"expected baud > 0, got {self.baud}")
        if self.parity not in {"N", "E", "O"}:
            raise ValueError(f"expected parity N, E or O, got {self.parity!r}")
        if self.stop_bits not in {1, 2} or self.data_bits not in {7, 8}:
            raise ValueError(f"expected 7 or 8 data and 1 or 2 stop bits, got {self.data_bits} and {self.stop_bits}")

    @property
    def name(self) -> str:
        """The usual short form.

        Examples
        --------
        >>> LineSettings(baud=19_200, parity="O").name
        '19200 8O1'
        """
        return f"{self.baud} {self.data_bits}{self.parity}{self.stop_bits}"
