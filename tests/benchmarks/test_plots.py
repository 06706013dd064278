from codequarry.benchmarks.plots import Point, quality_against_speed


def point(label: str, speed: float, score: float) -> Point:
    return Point(label, speed, score, score - 0.01, score + 0.01)


def test_a_name_stands_to_the_left_where_the_next_mark_would_hide_it() -> None:
    points = [point("mini", 47, 0.654), point("mini-int8", 83, 0.655), point("pico", 4700, 0.5)]
    figure = quality_against_speed(points, "", None)
    sides = {text.get_text(): text.get_horizontalalignment() for text in figure.axes[0].texts}
    assert sides == {"mini": "right", "mini-int8": "left", "pico": "left"}
