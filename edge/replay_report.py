"""What one replay came to, as JSON and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge.delivery import DeliveryView
from edge.inference.aggregation import RecordLabel
from edge.messages import Json

RECORD_RHYTHMS: Mapping[str, str] = {
    "N": "normal",
    "A": "atrial fibrillation",
    "O": "another rhythm",
    "~": "too noisy to tell",
}
"""The labels of the rhythm model in words (PhysioNet/CinC 2017)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """What one replay came to."""

    record: str
    duration_s: float
    processing_s: float
    n_beats: int = 0
    n_gaps: int = 0
    n_missing_samples: int = 0
    n_seconds: int = 0
    n_seconds_with_rate: int = 0
    alerts: Mapping[str, int] = field(default_factory=dict)
    """Alerts raised, by condition."""
    losses: Mapping[str, int] = field(default_factory=dict)
    """Samples or cells that the recording itself lacks, by reason."""
    has_ecg: bool = True
    """Without one there is no heart rate and no rhythm to find."""
    delivery: DeliveryView | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    """What was said of each model."""
    rhythm: RecordLabel | None = None
    """What the rhythm model says of the whole recording; None without one."""

    @property
    def coverage_text(self) -> str:
        """Share of the seconds with a heart rate, in words."""
        return f"{100 * self.n_seconds_with_rate / self.n_seconds:.1f} %" if self.n_seconds else "0 %"

    @property
    def rhythm_text(self) -> str:
        """What the rhythm model says of the whole recording, in words."""
        if self.rhythm is None:
            return "not asked, there is no rhythm model"
        shares = self.rhythm.probabilities
        if not shares:
            return f"no answer ({self.rhythm.absent})"
        likeliest = max(shares, key=lambda label: shares[label])
        certain = "" if self.rhythm.label is not None else ", not certain enough to say so"
        return f"{RECORD_RHYTHMS.get(likeliest, likeliest)} ({100 * shares[likeliest]:.0f} %{certain})"

    @property
    def delivery_text(self) -> str:
        """What became of the records, in words."""
        if self.delivery is None:
            return "nothing was published"
        return (
            f"published {self.delivery.n_confirmed} of {self.delivery.n_committed} records to {self.delivery.broker}, "
            f"{self.delivery.n_waiting_total} still in the outbox"
        )

    @property
    def is_undelivered(self) -> bool:
        """Whether it was to be published and the broker took nothing."""
        return self.delivery is not None and self.delivery.n_committed > 0 and self.delivery.n_confirmed == 0

    @property
    def undelivered_text(self) -> str:
        """Why the broker took nothing, in words."""
        uplink = None if self.delivery is None else self.delivery.uplink
        if uplink is None:
            return "no broker is configured; give one with --set mqtt.host=… (and mqtt.tls=false for a local one)"
        if uplink.n_nobody:
            return "nobody has subscribed at the broker; everything waits in the outbox"
        if uplink.n_refused:
            return f"the broker refused it ({', '.join(uplink.n_refused)}); everything waits in the outbox"
        return f"{uplink.reason}; everything waits in the outbox"

    def as_json(self) -> dict[str, Json]:
        """Return the object that ends ``vitaledge replay --json``."""
        ratio = self.duration_s / self.processing_s if self.processing_s > 0 else None
        body: dict[str, Json] = {
            "record": self.record,
            "duration_s": round(self.duration_s, 3),
            "beats": self.n_beats,
            "alerts": dict(sorted(self.alerts.items())),
            "n_alerts": sum(self.alerts.values()),
            "gaps": self.n_gaps,
            "missing_samples": self.n_missing_samples,
            "losses": dict(self.losses),
            "coverage_pct": round(100 * self.n_seconds_with_rate / self.n_seconds, 2) if self.n_seconds else None,
            "processing_s": round(self.processing_s, 3),
            "times_real_time": None if ratio is None else round(ratio, 1),
        }
        if self.delivery is not None:
            body["delivery"] = self.delivery.as_json()
        body["models"] = dict(self.models)
        body["rhythm"] = self._rhythm_json()
        return body

    def _rhythm_json(self) -> Json:
        """Return the label of the whole recording, the likeliest also where the model is not certain."""
        if self.rhythm is None:
            return {"label": None, "probabilities": {}, "is_certain": False, "absent": "no-model"}
        shares = self.rhythm.probabilities
        return {
            "label": max(shares, key=lambda label: shares[label]) if shares else None,
            "probabilities": {label: round(share, 4) for label, share in shares.items()},
            "is_certain": self.rhythm.label is not None,
            "n_windows": self.rhythm.n_windows,
            "absent": self.rhythm.absent,
        }
