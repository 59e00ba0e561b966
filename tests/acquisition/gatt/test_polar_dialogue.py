"""A Polar sensor is brought to send whatever it answers, and brought back when it stops."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acquisition.gatt.polar_control import (
    ControlError,
    Features,
    Operation,
    Response,
    Setting,
    Stopped,
    decode_control,
    factor_bits,
    response_bytes,
    settings_bytes,
    start_request,
)
from edge.acquisition.gatt.polar_dialogue import DialogueSettings, PolarDialogue, choices
from edge.acquisition.gatt.polar_frames import MeasurementType

NS_PER_S = 1_000_000_000
H10 = Features(numbers=frozenset({0, 2}))
ECG_OFFER = {Setting.SAMPLE_RATE: (130,), Setting.RESOLUTION: (14,)}
ACC_OFFER = {Setting.SAMPLE_RATE: (25, 50, 100, 200), Setting.RESOLUTION: (16,), Setting.RANGE: (2, 4, 8)}
ACC_WISH = {MeasurementType.ACC: {Setting.SAMPLE_RATE: 50, Setting.RANGE: 8}}


class Talk:
    """A dialogue on a clock of its own, asked every quarter of a second like the supervision does."""

    def __init__(self, *streams: MeasurementType, **settings) -> None:
        self.dialogue = PolarDialogue(DialogueSettings(streams=streams, **settings))
        self.now_ns = 0

    def asked(self, within_s: float = 1.0) -> str | None:
        """Return the next request, as hex, if one comes in time."""
        until_ns = self.now_ns + round(within_s * NS_PER_S)
        while self.now_ns < until_ns:
            self.now_ns += NS_PER_S // 4
            data = self.dialogue.due(self.now_ns)
            if data is not None:
                return data.hex(" ")
        return None

    def hear(self, data: str | bytes) -> None:
        self.dialogue.hear(decode_control(bytes.fromhex(data) if isinstance(data, str) else data), self.now_ns)

    def start_ecg(self) -> None:
        """Bring the ECG to run, with an H10's answers."""
        self.dialogue.hear(H10, self.now_ns)
        assert self.asked() == "01 00"
        self.hear("F0 01 00 00 00 00 01 82 00 01 01 0E 00")
        assert self.asked() == "02 00 00 01 82 00 01 01 0e 00"
        self.hear("F0 02 00 00 00 00")


def test_captured_dialogue_of_an_h10_byte_for_byte():
    """MTU too small, asked again, settings, a start that is declined, a start, and the end."""
    talk = Talk(MeasurementType.ECG)
    talk.hear("0F 05 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00")

    assert talk.asked() == "01 00"
    talk.hear("F0 00 01 0A")
    assert talk.asked(within_s=0.75) is None
    assert talk.asked() == "01 00"
    talk.hear("F0 01 00 00 00 00 01 82 00 01 01 0E 00")
    assert talk.asked() == "02 00 00 01 82 00 01 01 0e 00"
    talk.hear("F0 02 00 00 00 00")

    assert talk.dialogue.running == (MeasurementType.ECG,)
    assert talk.dialogue.setup(MeasurementType.ECG).chosen == {Setting.SAMPLE_RATE: 130, Setting.RESOLUTION: 14}
    assert talk.asked(within_s=5) is None
    assert [data.hex(" ") for data in talk.dialogue.farewell()] == ["03 00"]


def test_streams_take_turns():
    """The control point has one answer on its way at a time; what the sensor lacks is not asked for."""
    talk = Talk(MeasurementType.ECG, MeasurementType.ACC, MeasurementType.PPG, MeasurementType.PPI, preferred=ACC_WISH)
    talk.start_ecg()

    assert talk.asked() == "01 02"
    assert talk.asked(within_s=2) is None
    talk.hear(response_bytes(1, 2, parameters=settings_bytes(ACC_OFFER)))
    assert talk.asked() == "02 02 00 01 32 00 01 01 10 00 02 01 08 00"
    talk.hear(response_bytes(2, 2, parameters=settings_bytes({Setting.FACTOR: (factor_bits(0.5),)})))

    assert talk.dialogue.running == (MeasurementType.ECG, MeasurementType.ACC)
    assert talk.dialogue.setup(MeasurementType.ACC).factor == 0.5
    assert talk.asked(within_s=5) is None


def test_pulse_intervals_have_no_settings():
    """They are started without being asked about."""
    talk = Talk(MeasurementType.PPI)
    talk.dialogue.hear(Features(numbers=frozenset({3})), 0)

    assert talk.asked() == "02 03"


def test_without_features_every_stream_is_asked_for():
    """The read may fail; the sensor then says itself what it does not have."""
    talk = Talk(MeasurementType.PPG, MeasurementType.ECG)

    assert talk.asked(within_s=2) is None
    assert talk.asked() == "01 01"
    talk.hear("F0 01 01 03 00")
    assert talk.asked() == "01 00"
    talk.hear("F0 01 00 00 00 00 01 82 00")
    assert talk.asked() == "02 00 00 01 82 00"
    talk.hear("F0 02 00 00 00")

    assert talk.asked(within_s=5) is None
    assert talk.dialogue.problem(MeasurementType.PPG) is None  # it is only wished for where there is one


def test_settings_may_come_in_several_answers():
    """The values are cut anywhere."""
    talk = Talk(MeasurementType.ECG)
    talk.dialogue.hear(H10, 0)
    talk.asked()

    parameters = settings_bytes(ECG_OFFER)
    talk.hear(response_bytes(1, 0, parameters=parameters[:3], has_more=True))
    talk.hear(response_bytes(1, 0, parameters=parameters[3:]))

    assert talk.asked() == "02 00 00 01 82 00 01 01 0e 00"


def test_empty_list_of_settings_has_a_fallback():
    """An ECG has one rate on every sensor known."""
    talk = Talk(MeasurementType.ECG)
    talk.dialogue.hear(H10, 0)
    talk.asked()

    talk.hear("F0 01 00 00 00")

    assert talk.asked() == "02 00 00 01 82 00 01 01 0e 00"


@pytest.mark.parametrize(
    ("error", "second"),
    [
        (ControlError.BAD_SAMPLE_RATE, {Setting.SAMPLE_RATE: 100, Setting.RESOLUTION: 16, Setting.RANGE: 8}),
        (ControlError.BAD_RANGE, {Setting.SAMPLE_RATE: 50, Setting.RESOLUTION: 16, Setting.RANGE: 4}),
        (ControlError.BAD_PARAMETER, {Setting.SAMPLE_RATE: 50, Setting.RESOLUTION: 16, Setting.RANGE: 4}),
    ],
)
def test_refused_value_is_replaced_by_the_next_best(error, second):
    """The value the sensor blames is not tried again; of a parameter unnamed, the next combination is."""
    talk = Talk(MeasurementType.ACC, preferred=ACC_WISH)
    talk.dialogue.hear(H10, 0)
    talk.asked()
    talk.hear(response_bytes(1, 2, parameters=settings_bytes(ACC_OFFER)))
    talk.asked()

    talk.hear(response_bytes(2, 2, error))

    assert talk.asked() == start_request(MeasurementType.ACC, second).hex(" ")


def test_stream_with_every_combination_refused_is_left_alone_for_a_while():
    """Then it is asked about again; meanwhile it is known why."""
    talk = Talk(MeasurementType.ECG)
    talk.dialogue.hear(H10, 0)
    talk.asked()
    talk.hear(response_bytes(1, 0, parameters=settings_bytes(ECG_OFFER)))
    talk.asked()

    talk.hear("F0 02 00 07 00")

    assert talk.dialogue.problem(MeasurementType.ECG) == "bad-resolution"
    assert talk.asked(within_s=59) is None
    assert talk.asked(within_s=2) == "01 00"
    talk.hear(response_bytes(1, 0, parameters=settings_bytes(ECG_OFFER)))
    talk.asked()
    talk.hear("F0 02 00 00 00")
    assert talk.dialogue.problem(MeasurementType.ECG) is None


def test_stream_that_runs_already_is_stopped_and_started_as_wished():
    """Somebody else may have started it with other settings."""
    talk = Talk(MeasurementType.ECG)
    talk.dialogue.hear(H10, 0)
    talk.asked()
    talk.hear(response_bytes(1, 0, parameters=settings_bytes(ECG_OFFER)))
    talk.asked()

    talk.hear("F0 02 00 06 00")

    assert talk.asked() == "03 00"
    talk.hear("F0 03 00 00 00")
    assert talk.asked() == "02 00 00 01 82 00 01 01 0e 00"
    talk.hear("F0 02 00 06 00")  # it insists: then it runs
    assert talk.dialogue.running == (MeasurementType.ECG,)


def test_lost_answer_is_asked_for_again():
    """Nothing else is said meanwhile, and other streams come first."""
    talk = Talk(MeasurementType.ECG, MeasurementType.ACC)
    talk.dialogue.hear(H10, 0)
    assert talk.asked() == "01 00"

    assert talk.asked(within_s=4.75) is None
    assert talk.asked() == "01 02"
    talk.hear(response_bytes(1, 2, parameters=settings_bytes(ACC_OFFER)))
    assert talk.asked() == "02 02 00 01 c8 00 01 01 10 00 02 01 08 00"
    talk.hear("F0 02 02 00 00")
    assert talk.asked() == "01 00"


def test_silent_control_point_is_told():
    """After three requests without an answer a person should know; the next answer takes it back."""
    talk = Talk(MeasurementType.ECG)
    talk.dialogue.hear(H10, 0)

    for _ in range(3):
        assert talk.asked(within_s=6) == "01 00"
        assert talk.dialogue.problem(MeasurementType.ECG) is None
    assert talk.asked(within_s=6) == "01 00"
    assert talk.dialogue.problem(MeasurementType.ECG) == "unanswered"
    talk.hear(response_bytes(1, 0, parameters=settings_bytes(ECG_OFFER)))
    assert talk.dialogue.problem(MeasurementType.ECG) is None


def test_stream_that_the_sensor_stops_is_started_again():
    """After a second, with what was chosen before."""
    talk = Talk(MeasurementType.ECG)
    talk.start_ecg()
    first = talk.dialogue.setup(MeasurementType.ECG)

    talk.dialogue.hear(Stopped(measurements=(0, 9)), talk.now_ns)

    assert talk.asked(within_s=0.75) is None
    assert talk.asked() == "02 00 00 01 82 00 01 01 0e 00"
    talk.hear("F0 02 00 00 00")
    assert talk.dialogue.setup(MeasurementType.ECG).n_starts > first.n_starts


def test_stream_that_runs_and_says_nothing_is_started_again():
    """Ten seconds without data, although the sensor said it started; data keep it running."""
    talk = Talk(MeasurementType.ECG)
    talk.start_ecg()
    for _ in range(30):
        assert talk.asked() is None
        talk.dialogue.hear_data(MeasurementType.ECG, talk.now_ns)

    assert talk.asked(within_s=10) is None
    assert talk.asked() == "03 00"
    talk.hear("F0 03 00 00 00")
    assert talk.asked() == "02 00 00 01 82 00 01 01 0e 00"


def test_pulse_intervals_may_be_slow():
    """The first come after 25 s and none while the wearer moves: a minute of silence is no fault."""
    talk = Talk(MeasurementType.PPI)
    talk.dialogue.hear(Features(numbers=frozenset({3})), 0)
    talk.asked()
    talk.hear("F0 02 03 00 00")

    assert talk.asked(within_s=60) is None
    assert talk.asked(within_s=60) == "03 03"


def test_renewed_subscription_stops_what_ran():
    """On a link that stays, a sensor whose data do not come begins anew only after a stop."""
    talk = Talk(MeasurementType.ECG)
    talk.start_ecg()

    talk.dialogue.begin()

    assert talk.dialogue.setup(MeasurementType.ECG) is not None
    assert talk.asked() == "03 00"
    talk.hear("F0 03 00 06 00")  # it did not run after all
    assert talk.asked() == "01 00"


def test_new_link_knows_nothing():
    """Features, settings and answers of the old link are forgotten."""
    talk = Talk(MeasurementType.ECG)
    talk.start_ecg()

    talk.dialogue.forget()
    talk.dialogue.begin()

    assert talk.dialogue.running == ()
    assert talk.dialogue.setup(MeasurementType.ECG) is None
    assert talk.dialogue.farewell() == []
    assert talk.asked(within_s=2) is None  # waits for the features
    talk.dialogue.hear(H10, talk.now_ns)
    assert talk.asked() == "01 00"


def test_sensor_in_its_charger_is_asked_again_later():
    """Error 13 passes by itself; it is told meanwhile."""
    talk = Talk(MeasurementType.ECG)
    talk.dialogue.hear(H10, 0)
    talk.asked()
    talk.hear(response_bytes(1, 0, parameters=settings_bytes(ECG_OFFER)))
    talk.asked()

    talk.hear("F0 02 00 0D 00")

    assert talk.dialogue.problem(MeasurementType.ECG) == "in-charger"
    assert talk.asked(within_s=59) is None
    assert talk.asked(within_s=2) == "02 00 00 01 82 00 01 01 0e 00"


def test_answer_to_nothing_is_counted():
    """Another program may talk to the sensor too; its answers change nothing."""
    talk = Talk(MeasurementType.ECG)
    talk.start_ecg()

    talk.hear("F0 03 00 00 00")

    assert talk.dialogue.n_unasked == 1
    assert talk.dialogue.running == (MeasurementType.ECG,)


@pytest.mark.parametrize(
    ("wish", "first"),
    [({}, 200), ({Setting.SAMPLE_RATE: 50}, 50), ({Setting.SAMPLE_RATE: 60}, 100), ({Setting.SAMPLE_RATE: 500}, 200)],
)
def test_choice_is_the_nearest_that_is_not_less(wish, first):
    """Without a wish the largest; beyond all offers, the largest too."""
    assert choices({Setting.SAMPLE_RATE: (25, 50, 100, 200)}, wish)[0] == {Setting.SAMPLE_RATE: first}


def test_number_of_choices_is_bounded():
    """A sensor that offers 255 values of everything costs nothing."""
    many = tuple(range(255))

    assert len(choices(dict.fromkeys(Setting, many), {})) == 32


ANSWERS = st.one_of(
    st.builds(
        Response,
        operation=st.integers(0, 4),
        measurement=st.integers(0, 4),
        error=st.sampled_from(ControlError),
        has_more=st.booleans(),
        parameters=st.one_of(st.binary(max_size=12), st.just(settings_bytes(ACC_OFFER))),
        is_short=st.booleans(),
    ),
    st.builds(Stopped, measurements=st.lists(st.integers(0, 63), max_size=4).map(tuple)),
    st.builds(Features, numbers=st.frozensets(st.integers(0, 15))),
)


@given(st.lists(st.one_of(ANSWERS, st.sampled_from(["reconnect", "resubscribe", "right"])), max_size=40))
def test_no_sequence_of_answers_can_stop_the_dialogue(events):
    """After any nonsense a sensor that begins to answer rightly is running within two minutes."""
    talk = Talk(MeasurementType.ECG)
    for event in events:
        if event == "reconnect":
            talk.dialogue.forget()
        elif event == "resubscribe":
            talk.dialogue.begin()
        elif event == "right":
            talk.asked()
        else:
            talk.dialogue.hear(event, talk.now_ns)
    talk.dialogue.forget()  # a device that was said not to have the stream is not asked until the next link

    talk.dialogue.hear(H10, talk.now_ns)
    for _ in range(120):
        request = talk.asked()
        if request is None:
            continue
        operation, measurement = bytes.fromhex(request)[:2]
        talk.hear(
            response_bytes(
                operation,
                measurement,
                parameters=settings_bytes(ECG_OFFER) if operation == Operation.GET_SETTINGS else b"",
            )
        )
        talk.dialogue.hear_data(MeasurementType.ECG, talk.now_ns)
    assert talk.dialogue.running == (MeasurementType.ECG,)
