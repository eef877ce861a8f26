"""Numbers and texts as a page writes them; curves and histograms as SVG."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence

from markupsafe import Markup, escape

from pytest_ragshortcut.reporting.schema import CurvesRecord, LineRecord

# Control characters, what reorders text, halves of pairs, and what no file of UTF-8 may hold.
_UNSHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_WIDTH, _HEIGHT = 440, 230
_SMALL_WIDTH, _SMALL_HEIGHT = 310, 140
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 12, 36
_MARKERS = (
    "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
    "m-3-3h6v6h-6z",
    "m0-4l4 7h-8z",
    "m0-4.4l4.4 4.4l-4.4 4.4l-4.4-4.4z",
    "m0 4l4-7h-8z",
    "m-1.5-4h3v2.5h2.5v3h-2.5v2.5h-3v-2.5h-2.5v-3h2.5z",
)
_BINS = 20
# A span that is rounding alone is drawn as a line at zero.
_FLAT = 1e-12
_Place = Callable[[int, float], tuple[float, float]]


def visible(text: str) -> str:
    """Write what a page cannot hold, or would not show, as a picture that can be seen.

    Example:
        >>> visible("a" + chr(0) + "b" + chr(0xD800)) == "a" + chr(0x2400) + "b" + chr(0xFFFD)
        True
    """
    return _UNSHOWN.sub(_picture, text)


def escaped(value: object) -> Markup:
    """Escape a value for text and attributes alike.

    Example:
        >>> str(escaped('<a href="x">'))
        '&lt;a href=&#34;x&#34;&gt;'
    """
    return escape(visible(str(value)))


def reading(value: float | None) -> str:
    """Write a reading with three digits, or 'undefined'.

    Example:
        >>> reading(0.12345), reading(-0.0), reading(None)
        ('0.123', '0', 'undefined')
    """
    if value is None or not math.isfinite(value):
        return "undefined"
    return f"{value + 0.0:.3g}"


def finite(values: Sequence[float | None]) -> list[float]:
    """Return the numbers that are there.

    Example:
        >>> finite([0.5, None, float("nan")])
        [0.5]
    """
    return [value for value in values if value is not None and math.isfinite(value)]


def limit_of(values: Sequence[float | None]) -> float:
    """Return the largest absolute value, 1.0 where there is none above zero.

    Example:
        >>> limit_of([0.25, None, -0.5]), limit_of([0.0])
        (0.5, 1.0)
    """
    return max(map(abs, finite(values)), default=0.0) or 1.0


def curves(record: CurvesRecord) -> list[tuple[str, Markup]]:
    """Draw curves as one plot a book, (book, svg), open-book first, on a shared scale."""
    values = finite([value for line in record["lines"] for value in line["values"]])
    ticks = _ticks(min(values, default=0.0), max(values, default=0.0))
    books = {"open": "open-book", "closed": "closed-book"}
    return [
        (name, _plot(record, lines, f"{record['title']}, {name}", ticks))
        for book, name in books.items()
        if (lines := [line for line in record["lines"] if line["book"] == book])
    ]


def labels_of(record: CurvesRecord) -> list[str]:
    """Return the labels of all lines, each once: a label's index is its style in both books."""
    return list(dict.fromkeys(line["label"] for line in record["lines"]))


def key(index: int, label: str) -> Markup:
    """Draw the style of a line, for a legend."""
    style = index % len(_MARKERS)
    return Markup(
        '<svg class="key" role="img" aria-label="{}" width="44" height="12" viewBox="0 0 44 12">'
        '<path class="l c{}" d="M0 6h44"/><path class="m c{}" d="M22 6{}"/></svg>'
    ).format(escaped(f"the line of {label}"), style, style, _MARKERS[style])


def histogram(held: Sequence[float], failing: Sequence[float], label: str) -> Markup:
    """Draw how scores in [0, 1] are spread, failed checks on top of those that hold."""
    counts = [[0, 0] for _ in range(_BINS)]
    for side, scores in enumerate((held, failing)):
        for score in scores:
            counts[min(_BINS - 1, max(0, int(score * _BINS)))][side] += 1
    tall = _SMALL_HEIGHT - _TOP - _BOTTOM
    most = max(map(sum, counts)) or 1
    parts = [_bar(index, pair[0], pair[1], tall / most) for index, pair in enumerate(counts)]
    ends = [(0, _SMALL_HEIGHT - _BOTTOM), (most, _TOP)]
    parts += [_text(_LEFT - 8, y + 4, str(count), "end") for count, y in ends]
    step = (_SMALL_WIDTH - _LEFT - _RIGHT) / 5
    parts += [_text(_LEFT + i * step, _SMALL_HEIGHT - 18, f"{i / 5:g}", "mid") for i in range(6)]
    parts.append(_text(_LEFT + 2.5 * step, _SMALL_HEIGHT - 2, "score", "mid"))
    summary = f"{len(held)} hold, {len(failing)} fail"
    return _frame(label, summary, (_SMALL_WIDTH, _SMALL_HEIGHT), parts)


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


def _bar(index: int, held: int, failing: int, unit: float) -> Markup:
    step = (_SMALL_WIDTH - _LEFT - _RIGHT) / _BINS
    x, base = _LEFT + index * step + 1, _SMALL_HEIGHT - _BOTTOM
    name = f"{index / _BINS:.2f} to {(index + 1) / _BINS:.2f}: {held} hold, {failing} fail"
    shape = Markup('<path class="{}" d="M{:.1f} {:.1f}h{:.1f}v{:.1f}h-{:.1f}z"/>')
    wide, first, second = step - 2, held * unit, failing * unit
    parts = [shape.format("held", x, base - first, wide, first, wide)] if held else []
    if failing:
        parts.append(shape.format("fails", x, base - first - second, wide, second, wide))
    return Markup("<g><title>{}</title>{}</g>").format(name, _joined(parts)) if parts else Markup()


def _plot(
    record: CurvesRecord, lines: Sequence[LineRecord], name: str, ticks: Sequence[float]
) -> Markup:
    points, labels = record["points"], labels_of(record)
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(points))
    low, high = ticks[0], ticks[-1]

    def at(index: int, value: float) -> tuple[float, float]:
        share = (high - value) / (high - low)
        return _LEFT + step * (index + 0.5), _TOP + share * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        Markup('<path class="{}" d="M{} {:.1f}H{}"/>').format(
            "zero" if tick == 0 else "grid", _LEFT, at(0, tick)[1], _WIDTH - _RIGHT
        )
        for tick in ticks
    ]
    parts += [_text(_LEFT - 8, at(0, tick)[1] + 4, f"{tick:g}", "end") for tick in ticks]
    parts += _points(points, step)
    parts += [_line(points, line, labels.index(line["label"]), at) for line in lines]
    summary = "; ".join(_extreme(points, line) for line in lines)
    return _frame(name, summary, (_WIDTH, _HEIGHT), parts)


def _points(points: Sequence[str], step: float) -> Iterator[Markup]:
    """Write as many labels below the axis as there is room for; 'layer' once for all."""
    short = [point.removeprefix("layer ") for point in points]
    layers = all(point.startswith("layer ") for point in points)
    every = max(1, math.ceil((7 * max(map(len, short), default=0) + 8) / step))
    for index in range(0, len(points), every):
        yield _text(_LEFT + step * (index + 0.5), _HEIGHT - 20, short[index], "mid")
    if points and layers:
        yield _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 4, "layer", "mid")


def _line(points: Sequence[str], line: LineRecord, style: int, at: _Place) -> Markup:
    """Draw a line between neighbours that are there, and a marker at each with its value."""
    style %= len(_MARKERS)
    path, markers, joined = "", [], False
    for index, value in enumerate(line["values"]):
        if value is None or not math.isfinite(value):
            joined = False
            continue
        x, y = at(index, value)
        path += f"{'L' if joined else 'M'}{x:.1f} {y:.1f}"
        joined = True
        name = escaped(f"{line['label']}, {points[index]}: {reading(value)}")
        markers.append(
            Markup('<path class="m c{}" d="M{:.1f} {:.1f}{}"><title>{}</title></path>').format(
                style, x, y, _MARKERS[style], name
            )
        )
    return Markup('<path class="l c{}" d="{}"/>{}').format(style, path, _joined(markers))


def _extreme(points: Sequence[str], line: LineRecord) -> str:
    sizes = [(abs(value), i) for i, each in enumerate(line["values"]) for value in finite([each])]
    if not sizes:
        return f"{line['label']}: undefined throughout"
    _, index = max(sizes)
    value = reading(line["values"][index])
    return f"{line['label']}: furthest from zero at {points[index]}, {value}"


def _ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers that span the values and zero.

    Example:
        >>> _ticks(-0.9, 0.0)
        [-1.0, -0.8, -0.6, -0.4, -0.2, 0.0]
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if high - low < _FLAT:
        low, high = 0.0, 1.0
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(power * m for m in (1, 2, 5, 10) if (high - low) / (power * m) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def _frame(name: str, summary: str, size: tuple[int, int], parts: Sequence[Markup]) -> Markup:
    width, height = size
    return Markup(
        '<svg class="plot" role="img" aria-label="{}" width="{}" height="{}" '
        'viewBox="0 0 {} {}"><desc>{}</desc><path class="axis" d="M{} {}v{}h{}"/>{}</svg>'
    ).format(
        escaped(name), width, height, width, height, escaped(summary),
        _LEFT, _TOP, height - _TOP - _BOTTOM, width - _LEFT - _RIGHT, _joined(parts),
    )  # fmt: skip


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(
        anchor, x, y, escaped(text)
    )


def _joined(parts: Sequence[Markup]) -> Markup:
    return Markup("").join(parts)
