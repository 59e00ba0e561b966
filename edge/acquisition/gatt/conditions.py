"""What a device says of its state, again and again -> `SensorStatus` at each change.

Several characteristics may speak of one condition: a low battery stands in the battery service and in the status of a
glucose record.  It holds while one of them says so.
"""

from __future__ import annotations

from edge.messages import SensorStatus


class Conditions:
    """The conditions of one device on one link.

    The first word on a condition is told even when it is "no": a link may have ended while it held.

    Parameters
    ----------
    sensor : str
        Id of the sensor, as messages name it.
    """

    def __init__(self, sensor: str) -> None:
        self._sensor = sensor
        self._sources: dict[str, dict[str, str]] = {}  # condition -> who says that it holds, with the detail

    def note(self, condition: str, source: str, at_ns: int, *, is_active: bool, detail: str = "") -> list[SensorStatus]:
        """Return the change, if `source` brought one about by saying whether `condition` holds, or another detail."""
        is_first = condition not in self._sources
        sources = self._sources.setdefault(condition, {})
        was_active, known = bool(sources), sources.get(source)
        if is_active:
            sources[source] = detail
        else:
            sources.pop(source, None)
        is_other = is_active and known is not None and detail != known
        if bool(sources) == was_active and not is_first and not is_other:
            return []
        return [
            SensorStatus(
                sensor=self._sensor,
                stream=None,
                condition=condition,
                is_active=bool(sources),
                at_ns=at_ns,
                detail=next(reversed(sources.values()), ""),
            )
        ]

    def is_active(self, condition: str, source: str) -> bool:
        """Return whether `source` says that `condition` holds."""
        return source in self._sources.get(condition, {})

    def forget(self) -> None:
        """Know nothing: the link ended."""
        self._sources = {}
