"""How far a property may have changed, drawn against the margin."""

from __future__ import annotations

from markupsafe import Markup

from pytest_ragshortcut.reporting.gate_schema import GateRecord, PropertyRecord
from pytest_ragshortcut.reporting.gate_words import bounds_of, signed
from pytest_ragshortcut.reporting.svg import escaped, finite

_WIDTH, _HEIGHT = 230, 46
_TOP, _MIDDLE, _BOTTOM = 4, 15, 27
_DIAMOND = "m0-6l5 6l-5 6l-5-6z"
# Of the scale, on the left: the margin's label stands there.
_ROOM = 0.2
Scale = tuple[float, float]
"""The changes at the left and the right end."""


def scale_of(gate: GateRecord) -> Scale:
    """Return a scale that all properties of a gate share: it holds zero and the margin.

    Example:
        >>> gate = {"margin": 0.25, "properties": [{"change": 0.0, "change_interval": [-1.0, 1.0]}]}
        >>> scale_of(gate)
        (-1.4, 1.0)
    """
    drawn = [0.0, -gate["margin"], gate["margin"] / 2.0]
    for each in gate["properties"]:
        drawn += finite([each["change"], *each["change_interval"]])
    low, high = max(-1.0, min(drawn)), min(1.0, max(drawn))
    return (low - _ROOM * (high - low), high) if low < high else (-1.0, 1.0)


def interval(each: PropertyRecord, gate: GateRecord) -> Markup:
    """Draw one property's change and its interval; nothing but the lines where it is undefined.

    Args:
        each: the property.
        gate: all of the gate, for its scale and its margin.

    Example:
        >>> one = {"name": "test_it", "change": None, "change_interval": [None, None]}
        >>> drawn = interval(one, {"margin": 0.05, "properties": [one]})
        >>> "undefined" in drawn, 'class="range"' in drawn
        (True, False)
    """
    scale, margin = scale_of(gate), -gate["margin"]
    at_margin, at_zero = _place(margin, scale), _place(0.0, scale)
    parts = [
        Markup('<path class="beyond" d="M0 {}h{:.1f}v{}h-{:.1f}z"/>').format(
            _TOP, at_margin, _BOTTOM - _TOP, at_margin
        ),
        Markup('<path class="grid" d="M0 {}h{}"/>').format(_MIDDLE, _WIDTH),
        _upright("even", at_zero),
        _upright("margin", at_margin),
        *_labels(margin, at_margin, at_zero),
        *_marks(each, scale),
    ]
    said = [f"changed by {signed(each['change'], [margin])}"]
    said += [f"interval {bounds_of(each['change_interval'], [margin])}", f"margin {margin:g}"]
    name = f"Change of {each['name']} against the margin"
    return Markup(
        '<svg class="change" role="img" aria-label="{}" width="{}" height="{}" '
        'viewBox="0 0 {} {}"><desc>{}</desc>{}</svg>'
    ).format(
        escaped(name), _WIDTH, _HEIGHT, _WIDTH, _HEIGHT, escaped(", ".join(said)),
        Markup("").join(parts),
    )  # fmt: skip


def _place(value: float, scale: Scale) -> float:
    """Return where a change is drawn, within the frame whatever it is."""
    low, high = scale
    share = (min(high, max(low, value)) - low) / (high - low)
    return 8.0 + share * (_WIDTH - 16.0)


def _upright(kind: str, x: float) -> Markup:
    return Markup('<path class="{}" d="M{:.1f} {}V{}"/>').format(kind, x, _TOP - 3, _BOTTOM + 3)


def _labels(margin: float, at_margin: float, at_zero: float) -> list[Markup]:
    shape = Markup('<text class="{}" x="{:.1f}" y="{}">{}</text>')
    labels = [shape.format("mid", at_zero, _HEIGHT - 4, "0")]
    if margin:
        # The two lines may be close to each other.
        x = min(at_margin + 4.0, at_zero - 8.0)
        labels.append(shape.format("end", x, _HEIGHT - 4, f"{margin:g}"))
    return labels


def _marks(each: PropertyRecord, scale: Scale) -> list[Markup]:
    marks = []
    ends = [_place(end, scale) for end in finite(each["change_interval"])]
    if len(ends) == 2:
        wide = max(1.0, ends[1] - ends[0])
        bar = Markup('<path class="range" d="M{:.1f} {}h{:.1f}v8h-{:.1f}z"/>')
        marks.append(bar.format(ends[0], _MIDDLE - 4, wide, wide))
    mean = Markup('<path class="mean" d="M{:.1f} {}{}"/>')
    changes = finite([each["change"]])
    return marks + [mean.format(_place(at, scale), _MIDDLE, _DIAMOND) for at in changes]
