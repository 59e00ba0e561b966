"""Which peripheral a plan means: its service or its name, and the nearest of several."""

from __future__ import annotations

from edge.acquisition.ble_match import Advertisement, fits, nearest, shortened
from edge.acquisition.gatt.plan import GattPlan, assigned

HEART_RATE = assigned(0x180D)
STRAP = GattPlan(services=(HEART_RATE, assigned(0xFEEE)), subscribe=(), name_prefix="Polar H10")


def heard(address="A0:9E:1A:00:00:01", name="", services=(), rssi_dbm=-60) -> Advertisement:
    return Advertisement(address=address, name=name, services=services, rssi_dbm=rssi_dbm)


def test_one_advertised_service_is_enough():
    """A strap advertises the heart rate service among others."""
    assert fits(STRAP, heard(services=(assigned(0x180F), HEART_RATE)))
    assert not fits(STRAP, heard(services=(assigned(0x180F),)))


def test_name_counts_where_the_services_had_no_room():
    """128-bit services often do not fit into the advertisement."""
    assert fits(STRAP, heard(name="Polar H10 12345678"))
    assert not fits(STRAP, heard(name="Polar Sense"))


def test_plan_without_a_prefix_matches_no_nameless_peripheral():
    """Every name begins with nothing; that is no sign."""
    plan = GattPlan(services=(HEART_RATE,), subscribe=())

    assert not fits(plan, heard(name=""))
    assert not fits(plan, heard(name="Somebody's phone"))


def test_nearest_is_the_strongest_then_the_lowest_address():
    """The choice is the same on every start, whatever the order in which they were heard."""
    far, near, also_near = heard("C", rssi_dbm=-80), heard("B", rssi_dbm=-50), heard("A", rssi_dbm=-50)
    unknown = heard("0", rssi_dbm=None)

    assert nearest([far, unknown, near, also_near]) is also_near
    assert nearest([near, also_near, far]) is also_near
    assert nearest([unknown, far]) is far
    assert nearest([]) is None


def test_address_in_a_message_is_only_its_end():
    """A whole address follows its wearer about."""
    assert shortened("A0:9E:1A:12:34:56") == "…34:56"
