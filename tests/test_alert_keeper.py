"""What an alert was decided from is kept by the service and by a replay alike."""

from __future__ import annotations

import json

from edge.alert_archive import AlertArchive
from edge.alert_keeper import AlertKeeper, alerts_folder
from edge.cli import main
from edge.config import Config
from edge.config_sections import Alerts, Outbox
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import Scenario


def test_the_folder_is_as_configured_or_beside_the_outbox():
    assert str(alerts_folder(Config(outbox=Outbox(path="/var/x/outbox.db")))) == "/var/x/alerts"
    assert str(alerts_folder(Config(alerts=Alerts(path="/var/y")))) == "/var/y"


def test_nothing_is_written_before_the_first_alert(tmp_path):
    keeper = AlertKeeper(Config(), tmp_path / "alerts")

    keeper.watch("bed", lambda at_ns: at_ns)
    keeper.stop()

    assert not keeper.folder.exists()
    assert keeper.as_json() == {"n_written": 0, "n_removed": 0, "n_failed": 0}


def test_a_replay_keeps_its_alerts_where_it_is_told(tmp_path, capsys):
    """The records can be listed with the same command as those of a gateway."""
    lead_mv = VirtualPatient(Scenario.simple(rhythm="ventricular-tachycardia")).take(30).ecg_mv[:, 0]
    record = tmp_path / "patient.csv"
    record.write_text("II\n" + "\n".join(f"{value:.4f}" for value in lead_mv) + "\n")

    assert (
        main(
            [
                "replay",
                str(record),
                "--columns",
                "II=ecg",
                "--rate",
                "250",
                "--alerts",
                str(tmp_path / "kept"),
                "--json",
            ]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    kept = list(AlertArchive(tmp_path / "kept").summaries())
    assert main(["alerts", "list", "--store", str(tmp_path / "kept")]) == 0

    assert len(kept) == told["n_alerts"] > 0
    assert "heart_rate_bpm-high" in capsys.readouterr().out
