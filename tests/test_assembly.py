"""From the configuration to the settings of the stages."""

from __future__ import annotations

import pytest

from edge.assembly import alarm_limits, broker_words, mqtt_settings, pipeline_settings
from edge.config_sections import Config, Ecg, Limit, Mqtt, SecretReference, Summaries
from edge.config_sensor import Sensor
from edge.errors import ConfigError
from edge.features.activity import Placement
from edge.monitoring.limits import DEFAULT_LIMITS
from edge.publishing.mqtt import Protocol


def test_configured_limits_replace_the_built_in_ones_of_their_measure_alone():
    """Who sets one limit of SpO2 means it; heart rate keeps what it had."""
    limits = alarm_limits(Config(limit=(Limit(measure="spo2_pct", low=88),)))

    assert [limit.low for limit in limits if limit.measure == "spo2_pct"] == [88]
    others = tuple(limit for limit in DEFAULT_LIMITS if limit.measure != "spo2_pct")
    assert tuple(limit for limit in limits if limit.measure != "spo2_pct") == others
    assert len(others) > 0


def test_settings_of_the_signal_come_from_their_section():
    """Band, mains and the smallest quality reach filter and quality index; the period reaches the summaries."""
    config = Config(ecg=Ecg(mains_hz=60, band_hz=(1.0, 30.0), min_quality=0.7), summary=Summaries(period_s=30))

    settings = pipeline_settings(config)

    assert settings.signal.ecg.filters.band_hz == (1.0, 30.0)
    assert settings.signal.ecg.filters.mains_hz == 60
    assert settings.signal.ecg.quality.min_quality == 0.7
    assert settings.summary.period_s == 30


def test_no_host_is_no_broker():
    """Everything is kept; the words for people say so."""
    assert mqtt_settings(Config()) is None
    assert "kept in the outbox" in broker_words(Config())


def test_broker_is_as_configured():
    """Encryption by default with its port, the client named after the gateway."""
    settings = mqtt_settings(Config(mqtt=Mqtt(host="broker.example")))

    assert (settings.host, settings.port, settings.client_id) == ("broker.example", 8883, "vitaledge-gateway")
    assert settings.tls is not None
    assert settings.protocol is Protocol.AUTO
    assert broker_words(Config(mqtt=Mqtt(host="broker.example"))) == "broker.example:8883 with TLS"


def test_password_comes_from_where_the_configuration_points(tmp_path):
    """A file, an environment variable or a credential; never the configuration itself."""
    (tmp_path / "secret").write_text("from-file\n")
    file = SecretReference(file=str(tmp_path / "secret"))
    variable = SecretReference(env="MQTT_PASSWORD")

    def password(reference: SecretReference, environ: dict[str, str]) -> str | None:
        return mqtt_settings(Config(mqtt=Mqtt(host="b", username="u", password=reference)), environ).password

    assert password(file, {}) == "from-file"
    assert password(variable, {"MQTT_PASSWORD": "from-env"}) == "from-env"
    with pytest.raises(ConfigError, match="MQTT_PASSWORD"):
        password(variable, {})


def test_what_the_configuration_knows_of_a_sensor_reaches_its_chain():
    """Placement and calibration are a sensor's own; a finger has no posture."""
    finger = Sensor(
        id="finger", driver="bridge_serial", port="p", placement="finger", spo2_calibration=((0.5, 98.0), (1.0, 85.0))
    )
    belt = Sensor(id="belt", driver="bridge_serial", port="q", placement="chest")

    settings = pipeline_settings(Config(sensor=(finger, belt)))

    of_finger = settings.signal.of_sensor(settings.traits["finger"])
    of_belt = settings.signal.of_sensor(settings.traits["belt"])
    assert of_finger.light.oximetry.calibration == ((0.5, 98.0), (1.0, 85.0))
    assert of_belt.light.oximetry.calibration is None
    assert (of_finger.activity.placement, of_belt.activity.placement) == (None, Placement.CHEST)
