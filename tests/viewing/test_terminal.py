from __future__ import annotations

import io

from rich.console import Console

from edge.messages import LinkChange, LinkState, Measurement, Vitals
from edge.viewing.bed import BedState
from edge.viewing.gateway import GatewayView
from edge.viewing.terminal import DISCLAIMER, TerminalView, render
from tests.viewing.test_bed import ALERT, ramp

GATEWAY = GatewayView(title="VitalEdge", clock_s=75, broker="mosquitto on loopback", is_connected=True, n_sent=12)


def screen(bed, gateway=GATEWAY):
    console = Console(file=io.StringIO(), width=110, height=40)
    console.print(render(bed, gateway, 110))
    return console.file.getvalue()


def vitals(value, absent=None):
    return Vitals(
        at_ns=1,
        measurements={"heart_rate_bpm": Measurement(value=value, unit="/min", absent=absent)},
        coverage_pct=97,
        quality=0.9,
    )


def test_screen_shows_value_alert_link_and_that_it_is_no_medical_device():
    bed = BedState("p-9c1e")
    bed.observe(vitals(72.4))
    bed.observe(ALERT)
    bed.observe(LinkChange(sensor="bed", state=LinkState.CONNECTED, reason="hello", at_ns=0))

    text = screen(bed)

    for words in ("p-9c1e", "72 /min", ALERT.sentence, "bed connected", "mosquitto on loopback", DISCLAIMER):
        assert words in text


def test_an_absent_value_is_shown_as_absent_with_its_reason():
    """Never the last number once the value is gone."""
    bed = BedState("p-1")
    bed.observe(vitals(72.0))
    bed.observe(vitals(None, "lead-off"))

    text = screen(bed)

    assert "-- lead-off" in text
    assert "72 /min" not in text


def test_an_empty_bed_can_be_drawn():
    assert "no signal" in screen(BedState("p-1"))


def test_view_draws_on_a_console_that_is_no_terminal():
    console = Console(file=io.StringIO(), width=100, height=40)
    bed = BedState("p-1")
    bed.observe(ramp(500))

    with TerminalView(console) as view:
        view.show(bed, GATEWAY)

    assert "p-1" in console.file.getvalue()
