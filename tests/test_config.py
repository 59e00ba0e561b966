"""Layers, errors and warnings of the configuration."""

from __future__ import annotations

import contextlib
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import config_paths, config_sha256, load_config, migrate
from edge.config_sections import Config, Limit, duration_s
from edge.config_text import toml_value
from edge.errors import ConfigError

BED = """
[[sensor]]
id = "bed"
driver = "bridge_serial"
port = "/dev/ttyUSB0"

[[subject]]
id = "p-9c1e"
sensors = ["bed"]
"""

UNASSIGNED = BED.partition("[[subject]]")[0]


@pytest.fixture
def write(tmp_path):
    """Write numbered TOML files and return their paths."""

    def write(*texts):
        paths = []
        for number, text in enumerate(texts):
            path = tmp_path / f"{number}.toml"
            path.write_text(text, encoding="utf-8")
            paths.append(path)
        return paths

    return write


def problems(paths=(), environ=None, overrides=()):
    with pytest.raises(ConfigError) as caught:
        load_config(paths, environ or {}, overrides)
    return caught.value.problems


def said(found):
    return [(problem.key, problem.message) for problem in found]


# --- layers -------------------------------------------------------------------------------------------------


def test_nothing_configured_gives_the_defaults():
    """An empty configuration is one that works, without a warning."""
    loaded = load_config()

    assert loaded.config == Config()
    assert loaded.warnings == ()
    assert loaded.config.mqtt.host is None


def test_later_layers_win_key_by_key(write):
    """File, then a later file, then the environment, then the command line; what a layer leaves out stays."""
    paths = write(
        '[mqtt]\nhost = "a"\nroot = "a"\nusername = "a"\nport = 1', '[mqtt]\nhost = "b"\nroot = "b"\nport = 2'
    )

    config = load_config(paths, {"VITALEDGE__MQTT__HOST": "c", "VITALEDGE__MQTT__PORT": "3"}, ["mqtt.host=d"]).config

    assert (config.mqtt.host, config.mqtt.port, config.mqtt.root, config.mqtt.username) == ("d", 3, "b", "a")


def test_items_of_the_same_name_are_laid_over_one_another(write):
    """A later file adds a key to the sensor of that id, and appends a sensor of another id."""
    later = '[[sensor]]\nid = "bed"\nbaud = 9600\n[[sensor]]\nid = "chest"\ndriver = "bridge_serial"\nport = "/dev/b"'

    config = load_config(write(BED, later)).config

    assert [(sensor.id, sensor.port, sensor.baud) for sensor in config.sensor] == [
        ("bed", "/dev/ttyUSB0", 9600),
        ("chest", "/dev/b", None),
    ]


def test_limits_of_one_measure_differ_by_grade(write):
    """The ordinary limit of a measure is changed by a later layer without touching the extreme one."""
    first = '[[limit]]\nmeasure = "spo2_pct"\nlow = 90\n[[limit]]\nmeasure = "spo2_pct"\nlow = 80\ngrade = "extreme"'
    second = '[[limit]]\nmeasure = "spo2_pct"\nlow = 88'

    limits = load_config(write(first, second)).config.limit

    assert [(limit.grade, limit.low) for limit in limits] == [("", 88), ("extreme", 80)]


def test_two_limits_of_one_measure_and_grade_are_an_error(write):
    """They would be one alarm with two opinions."""
    (found,) = problems(write('[[limit]]\nmeasure = "spo2_pct"\nlow = 90\n' * 2))

    assert (found.key, found.line) == ("limit[1].measure", 5)
    assert found.message.startswith("'spo2_pct' is given twice")


def test_a_limit_that_can_never_alarm_is_a_warning(write):
    """A misspelt measure would look like protection."""
    (warning,) = load_config(write('[[limit]]\nmeasure = "spo2"\nlow = 90')).warnings

    assert (warning.key, warning.line) == ("limit[0].measure", 2)
    assert "did you mean 'spo2_pct'?" in warning.message


@pytest.mark.parametrize(
    "override", ["sensor.bed.port=/dev/x", "sensor.bed.port='/dev/x'", ' sensor.bed.port = "/dev/x"']
)
def test_an_override_reaches_into_a_list_by_name(write, override):
    """A sensor's key is set by the sensor's id."""
    assert load_config(write(BED), {}, [override]).config.sensor[0].port == "/dev/x"


def test_an_underscore_in_the_environment_stands_for_a_hyphen(write):
    """Shells do not let a variable's name contain a hyphen."""
    text = BED.replace('"bed"', '"bed-1"')

    config = load_config(write(text), {"VITALEDGE__SENSOR__BED_1__PORT": "/dev/x"}).config

    assert config.sensor[0].port == "/dev/x"


def test_an_override_of_an_unknown_item_names_the_known_ones(write):
    """A misspelt sensor is an error: it does not become a second sensor."""
    found = problems(write(BED), {"VITALEDGE__SENSOR__BEDD__PORT": "/dev/x"})

    assert found[0].source == "environment VITALEDGE__SENSOR__BEDD__PORT"
    assert "known: bed" in found[0].message


def test_an_override_creates_a_table_that_is_not_there_yet():
    """A model can be configured by the environment alone."""
    config = load_config((), {"VITALEDGE__MODEL__RHYTHM__BUNDLE": "/models/a"}).config

    assert config.model["rhythm"].bundle == "/models/a"


@pytest.mark.parametrize("text", ["5", '"5"'])
def test_text_that_looks_like_a_number_stays_text_where_text_is_wanted(text):
    """The quotes that a shell eats are not missed."""
    assert load_config((), {"VITALEDGE__MQTT__PROTOCOL": text, "VITALEDGE__MQTT__USERNAME": text}).config.mqtt == (
        load_config((), {}, ['mqtt.protocol="5"', 'mqtt.username="5"']).config.mqtt
    )


def test_a_line_break_cannot_smuggle_in_a_second_key():
    """A value with a line break is text, never more TOML."""
    config = load_config((), {"VITALEDGE__MQTT__HOST": '"a"\nport = 1'}).config

    assert config.mqtt.host == '"a"\nport = 1'
    assert config.mqtt.port is None


def test_other_variables_are_not_looked_at():
    """Only the prefix with two underscores is ours."""
    assert load_config((), {"VITALEDGE_DATA": "x", "HOME": "y"}).config == Config()


def test_windows_line_ends_and_byte_order_mark_are_accepted(tmp_path):
    """A file saved by a Windows editor loads, with right line numbers."""
    path = tmp_path / "a.toml"
    path.write_bytes("\ufeff[mqtt]\r\nport = 0\r\n".encode())

    assert problems([path])[0].line == 2


def test_a_directory_is_read_with_its_conf_d(tmp_path):
    """config.toml comes first, then conf.d by name; other files are left alone."""
    (tmp_path / "conf.d").mkdir()
    for name in ("config.toml", "conf.d/20-b.toml", "conf.d/10-a.toml", "conf.d/readme.txt"):
        (tmp_path / name).write_text("")

    names = [path.relative_to(tmp_path).as_posix() for path in config_paths(tmp_path)]

    assert names == ["config.toml", "conf.d/10-a.toml", "conf.d/20-b.toml"]


def test_the_default_directory_may_be_missing_or_empty(tmp_path):
    """A device without a configuration starts with the defaults."""
    assert config_paths(default=tmp_path / "nowhere") == ()
    assert config_paths(default=tmp_path) == ()


def test_the_default_directory_is_read_where_it_exists(tmp_path):
    (tmp_path / "config.toml").write_text("")

    assert config_paths(default=tmp_path) == (tmp_path / "config.toml",)


def test_a_directory_that_was_named_must_have_its_file(tmp_path):
    assert config_paths(tmp_path) == (tmp_path / "config.toml",)


def test_a_default_file_that_cannot_be_looked_at_is_no_silence(tmp_path):
    """What is there but out of reach is reported when it is opened."""
    (tmp_path / "file").write_text("")

    assert config_paths(default=tmp_path) == ()
    with pytest.raises(ConfigError, match="Not a directory"):
        config_paths(default=tmp_path / "file")


def test_layers_that_cannot_be_listed_are_an_error(tmp_path):
    """A layer left out in silence could be an alarm limit."""
    (tmp_path / "conf.d").write_text("")

    with pytest.raises(ConfigError, match=r"conf\.d: file: cannot be listed: Not a directory"):
        config_paths(tmp_path)


def test_a_file_that_was_named_must_exist(tmp_path):
    """A misspelt --config is an error, not the defaults."""
    (found,) = problems(config_paths(tmp_path / "nowhere.toml"))

    assert "No such file" in found.message


# --- errors -------------------------------------------------------------------------------------------------


def test_all_problems_are_reported_at_once_with_their_lines(write):
    """Several files, several sections, one error."""
    first = '[gateway]\nid = "GW"\n\n[mqtt]\nhst = "x"\nport = 0\n'
    second = '[ecg]\nmains_hz = 55\nband_hz = [40, 1]\n[[sensor]]\nid = "bed"\n'

    found = problems(write(first, second))

    assert {(problem.source[-6:], problem.line, problem.key) for problem in found} == {
        ("0.toml", 2, "gateway.id"),
        ("0.toml", 5, "mqtt.hst"),
        ("0.toml", 6, "mqtt.port"),
        ("1.toml", 2, "ecg.mains_hz"),
        ("1.toml", 4, "sensor[0].driver"),
    }


def test_a_broken_file_does_not_hide_the_problems_of_another(write):
    """A syntax error is one problem among others, with its line."""
    found = problems(write("[mqtt]\nport = \n", "[ecg]\nmains_hz = 55\n"))

    assert [(problem.line, problem.key) for problem in found] == [(2, "file"), (2, "ecg.mains_hz")]


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("mains-hz = 50", "mains-hz", "known here"),
        ("[ecg]\nmains-hz = 50", "ecg.mains-hz", "'mains_hz'"),
        ("[mqt]\nport = 1", "mqt", "'mqtt'"),
        ("[outbox.keep]\nalerts = '1d'", "outbox.keep.alerts", "'alert'"),
        ("[model.rhythm]\nbundle = 'b'\nhops = 1", "model.rhythm.hops", "'hop_s'"),
        ("[console]\nlisten = 'x'", "console", "known here: config_version, gateway"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(write, text, key, words):
    """The suggestion comes from the very section, or its keys are listed."""
    ((found_key, message),) = said(problems(write(text)))

    assert found_key == key
    assert message.startswith("unknown key")
    assert words in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[mqtt]\nport = '1883'", 'expected a whole number, got "1883"'),
        ("[mqtt]\nport = 70000", "expected a number <= 65535, got 70000"),
        ("[mqtt]\ntls = 1", "expected true or false, got 1"),
        ("[mqtt]\nhost = ''", 'expected text that is not empty, got ""'),
        ("[mqtt]\nhost = ['a']", "expected text in quotes, got a list of 1"),
        ("[mqtt]\nprotocol = '4'", "expected 'auto', '5' or '3.1.1', got \"4\""),
        ("[ecg]\nmin_quality = nan", "expected a finite number, got NaN"),
        ("[ecg]\nmin_quality = true", "expected a number, got true"),
        ("[ecg]\nband_hz = [40, 0.5]", "expected band_hz = [low, high] with low < high, got [40, 0.5]"),
        ("[ecg]\nband_hz = 40", "expected a list in [ ], got 40"),
        ("mqtt = 'x'", 'expected a table, got "x"'),
        (
            "[outbox.keep]\nsummary = '30'",
            "expected 'forever' or a whole number with s, min, h, d or w, such as '30d', got \"30\"",
        ),
        ("[mqtt]\nport = 18830000000000000000000000", "expected a number <= 65535, got 18830000000000000000000000"),
        ("[ecg]\nband_hz = [1, 2, 3]", "expected a list of at most 2, got a list of 3"),
        ("[gateway]\nid = 2026-01-01", "expected no date or time here; write it in quotes if it is a name"),
        ("[model.rhythm]\nbundle = 'b'\nhop_s = 20", "expected hop_s <= window_s, got 20 > 10"),
        (
            "[[sensor]]\nid = 'a'\ndriver = 'nonin'",
            "expected a port for the serial driver 'nonin', got none",
        ),
        (
            "[[sensor]]\nid = 'a'\ndriver = 'polar_pmd'\nport = '/dev/x'",
            "expected no port for the Bluetooth driver 'polar_pmd', got '/dev/x'",
        ),
        (
            "[[sensor]]\nid = 'a'\ndriver = 'nonin'\nport = '/dev/x'\naddress = 'AA:BB:CC:DD:EE:FF'",
            "expected no address for the serial driver 'nonin', got 'AA:BB:CC:DD:EE:FF'",
        ),
        (
            "[[sensor]]\nid = 'a'\ndriver = 'polar_pmd'\naddress = 'chest'",
            "expected address = auto or AA:BB:CC:DD:EE:FF, got 'chest'",
        ),
        *(
            (
                f"[[sensor]]\nid = 'a'\ndriver = 'bridge_serial'\nport = '/dev/x'\nspo2_calibration = {table}",
                (
                    "expected spo2_calibration of two pairs [ratio, %] or more, with rising ratios >= 0 "
                    "and saturations that fall within 100 to 0"
                ),
            )
            for table in (
                "[[0.5, 98.0]]",
                "[[1.0, 85.0], [0.5, 98.0]]",
                "[[0.5, 85.0], [1.0, 98.0]]",
                "[[0.5, 108.0], [1.0, 85.0]]",
            )
        ),
        ("[[limit]]\nmeasure = 'spo2_pct'", "expected low, high or both; got neither"),
        ("[[limit]]\nmeasure = 'spo2_pct'\nlow = 95\nhigh = 90", "expected low < high, got low = 95 and high = 90"),
        (
            "[[limit]]\nmeasure = 'x'\nlow = 0\nhigh = 4\nhysteresis = 2",
            "expected hysteresis < half of high - low = 2, got 2",
        ),
        ("[mqtt]\ncert = '/c'", "expected cert and key together, got only cert"),
        ("[mqtt]\npassword = { env = 'P' }", "expected a username with the password, got none"),
        ("config_version = 2", "expected config_version 1, got 2: written for a later version of this software"),
        ("config_version = 0", "expected a number >= 1, got 0"),
        ("config_version = true", "expected a whole number, got true"),
    ],
)
def test_a_wrong_value_says_what_was_expected_and_what_was_given(write, text, message):
    """One sentence that needs no manual."""
    assert message in [problem.message for problem in problems(write(text))]


def test_a_wrong_name_of_a_model_is_reported_at_its_table(write):
    """The name itself is the key that is wrong."""
    (found,) = problems(write("[model.Rhythm]\nbundle = 'b'"))

    assert (found.key, found.line) == ("model.Rhythm", 1)
    assert found.message == "expected 1 to 63 of a-z, 0-9 and '_', beginning with a letter, got \"Rhythm\""


def test_the_port_follows_from_tls():
    """8883 with TLS, 1883 without, or the one that was given."""
    ports = [
        load_config((), {}, overrides).config.mqtt.effective_port
        for overrides in ([], ["mqtt.tls=false"], ["mqtt.tls=false", "mqtt.port=1884"])
    ]

    assert ports == [8883, 1883, 1884]


def test_an_unnamed_problem_points_at_the_table_above(write):
    """A key that is missing has no line, so its table's is given."""
    found = problems(write("\n\n[[sensor]]\nid = 'a'\nport = 'b'\n"))

    assert [(problem.key, problem.line) for problem in found] == [("sensor[0].driver", 3)]


def test_the_same_name_twice_is_an_error(write):
    """Two sensors of one id in one file are not laid over one another in silence."""
    (found,) = problems(write(UNASSIGNED * 2))

    assert found.key == "sensor[1].id"
    assert "given twice" in found.message
    assert found.line == 9


def test_a_sensor_belongs_to_one_subject(write):
    """One person's heart must never be shown as two."""
    (found,) = problems(write(BED + '[[subject]]\nid = "p-2"\nsensors = ["bed"]'))

    assert found.key == "subject[1].sensors"
    assert "first to subject 'p-9c1e'" in found.message


def test_a_subject_names_only_known_sensors(write):
    """A misspelt sensor would leave a person unmonitored."""
    (found,) = problems(write(BED.replace('["bed"]', '["bedd"]')))

    assert "did you mean 'bed'?" in found.message


def test_a_file_that_is_no_text_is_reported(tmp_path):
    """Binary data is named as such."""
    path = tmp_path / "a.toml"
    path.write_bytes(b"[mqtt]\nhost = '\xff'")

    assert "expected UTF-8 text, got byte 0xff" in problems([path])[0].message


def test_deep_nesting_is_reported(write):
    """A hostile file ends in an error, not in a crash."""
    assert "nested too deeply" in problems(write("a = " + "[" * 20000))[0].message


# --- what is only a warning ---------------------------------------------------------------------------------


def test_an_unassigned_sensor_is_a_warning(write):
    """Its data is taken and says that it belongs to nobody."""
    loaded = load_config(write(UNASSIGNED))

    assert [warning.key for warning in loaded.warnings] == ["sensor[0].id"]
    assert loaded.config.subject_of("bed") is None


def test_a_bound_sensor_names_its_subject(write):
    """The pipeline asks for the pseudonym by the sensor's id."""
    loaded = load_config(write(BED))

    assert loaded.config.subject_of("bed") == "p-9c1e"
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    ("host", "n_warnings"),
    [("localhost", 0), ("127.0.0.1", 0), ("::1", 0), ("[::1]", 0), ("broker.example", 1), ("10.0.0.1", 1)],
)
def test_unencrypted_data_leaving_the_device_is_a_warning(host, n_warnings):
    """On loopback nobody listens; elsewhere somebody may."""
    loaded = load_config((), {}, [f"mqtt.host='{host}'", "mqtt.tls=false", "gateway.id=gw-1"])

    assert [warning.key for warning in loaded.warnings] == ["mqtt.tls"] * n_warnings


def test_a_shared_broker_with_the_built_in_name_is_a_warning():
    """Two devices of one name would overwrite each other."""
    assert [warning.key for warning in load_config((), {}, ["mqtt.host=broker.example"]).warnings] == ["gateway.id"]


def test_two_sensors_on_one_port_are_a_warning(write):
    """Only one of them can open it."""
    other = UNASSIGNED.replace('"bed"', '"chest"')

    warnings = load_config(write(BED.replace('["bed"]', '["bed", "chest"]') + other)).warnings

    assert "2 sensors share the port" in warnings[0].message


# --- the tree itself ----------------------------------------------------------------------------------------


def test_the_tree_cannot_be_changed():
    """A running service keeps the configuration whose hash it announced."""
    with pytest.raises(FrozenInstanceError):
        load_config().config.mqtt.port = 1


def test_sections_refuse_misuse_from_python_too():
    """What a file may not say, code may not build."""
    with pytest.raises(ValueError, match="expected low < high"):
        Limit(measure="spo2_pct", low=5, high=3)


def test_equal_settings_have_equal_hashes(write):
    """Order, comments and writing defaults down do not matter; a value does."""
    first, second, third = write(
        "[model.a]\nbundle = 'a'\n[model.b]\nbundle = 'b' # x",
        "[model.b]\nbundle = 'b'\n[model.a]\nhop_s = 2\nbundle = 'a'",
        "[model.a]\nbundle = 'a'",
    )

    hashes = [config_sha256(load_config([path]).config) for path in (first, second, third)]

    assert hashes[0] == hashes[1] != hashes[2]
    assert len(hashes[0]) == 64


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15min", 900), ("12h", 43200), ("30d", 2592000), ("4w", 2419200), ("forever", None)],
)
def test_durations_are_read(text, seconds):
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "-1s", "1", "1 d", "1m", "1.5h", "30d\n", "forever and a day"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="such as '30d'"):
        duration_s(text)


def test_migrating_the_present_version_changes_nothing():
    """Version 1 is the first."""
    assert migrate("config_version = 1\n# kept\n") == "config_version = 1\n# kept\n"
    assert migrate("[mqtt]\n") == "[mqtt]\n"


@pytest.mark.parametrize("text", ["config_version = 2", "config_version = true", "config_version = '1'", "= 1"])
def test_migrating_what_is_not_known_is_an_error(text):
    with pytest.raises(ConfigError):
        migrate(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda below: (
            st.lists(below, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["id", "sensor", "subject", "sensors", "mqtt", "host", "limit", "measure", "model", "keep", "x"]
                ),
                below,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_value_anywhere_is_a_configuration_or_a_list_of_problems(value):
    """Invariant: whatever an override holds, load_config answers or raises ConfigError."""

    def without_null(item):
        if isinstance(item, dict):
            return {key: without_null(below) for key, below in item.items() if below is not None}
        if isinstance(item, list):
            return [without_null(below) for below in item if below is not None]
        return item

    for table in ("sensor", "subject", "limit", "model", "mqtt", "mqtt.password", "gateway.id", "nothing"):
        with contextlib.suppress(ConfigError):
            load_config((), {}, [f"{table}={toml_value(without_null(value) or {})}"])
