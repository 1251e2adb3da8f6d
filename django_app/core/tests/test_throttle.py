from core.throttle import Throttle


def test_throttle_closes_at_its_limit_and_opens_by_reset():
    throttle = Throttle("test", limit=2, seconds=60)
    throttle.count("a")
    assert not throttle.is_exceeded("a")
    throttle.count("a")
    assert throttle.is_exceeded("a")
    assert not throttle.is_exceeded("b")
    throttle.reset("a")
    assert not throttle.is_exceeded("a")
