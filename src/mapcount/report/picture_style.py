"""How static pictures look: the colours and textures of the HTML report, in light and dark."""

from __future__ import annotations

from collections.abc import Collection

FILLS = ("#8ec7f0", "#f2c45f", "#83d2b6", "#e5b4d7", "#c5bff2", "#d6cdb2")
"""By process. Dark letters are readable on all of them."""
PALE = ("#cde6f9", "#fae5b9", "#c8ede1", "#f4dfee", "#e5e2fa", "#ece8dc")
"""The same where entries are read-only."""
TEXTURES = {
    1: '<path d="M-2 2l4-4M0 8l8-8M6 10l4-4" stroke="#000" stroke-opacity=".28" stroke-width="1.5"/>',
    2: '<circle cx="4" cy="4" r="1.3" fill-opacity=".4"/>',
    3: '<path d="M4 0v8" stroke="#000" stroke-opacity=".28" stroke-width="1.5"/>',
}
LIGHT = {
    "paper": "#fff", "sunken": "#efede8", "ink": "#1b1d21", "muted": "#595d66", "line": "#d8d5ce",
    "wrong": "#b23c00", "wrong-paper": "#fff0e6",
}  # fmt: skip
DARK = {
    "paper": "#1d2024", "sunken": "#121316", "ink": "#e9e7e2", "muted": "#a3a7b0", "line": "#363a41",
    "wrong": "#ff9b63", "wrong-paper": "#33211a",
}  # fmt: skip
BACKGROUND = '<rect x=".5" y=".5" width="{width}" height="{height}" rx="8" class="paper"/>'


def style(textures: Collection[int]) -> str:
    """The style sheet, and the textures that are used."""
    patterns = "".join(
        f'<pattern id="t{i}" width="8" height="8" patternUnits="userSpaceOnUse">{path}</pattern>'
        for i, path in TEXTURES.items()
        if i in textures
    )
    hatch = (
        '<pattern id="w" width="9" height="9" patternUnits="userSpaceOnUse">'
        '<rect width="9" height="9" class="wp"/><path d="M-2 2l4-4M0 9l9-9M7 11l4-4" class="wl"/></pattern>'
    )
    fills = "".join(
        f".p{i}{{fill:{full}}}.p{i}.ro{{fill:{pale}}}"
        for i, (full, pale) in enumerate(zip(FILLS, PALE, strict=True))
    )
    fixed = (
        "text{font:12px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace}"
        ".strong{font-weight:700}.end{text-anchor:end}.middle{text-anchor:middle}.small{font-size:10px}"
        f"{fills}"
        + "".join(f".t{i}{{fill:url(#t{i})}}" for i in TEXTURES)
        + ".wrong{fill:url(#w);stroke-width:3}.tagged{font-weight:800}.box,.slot{fill-opacity:.5}"
    )
    return (
        f"<style>{fixed}{_colours(LIGHT)}@media(prefers-color-scheme:dark){{{_colours(DARK)}}}"
        f".on{{fill:#14161a}}</style><defs>{patterns}{hatch}</defs>"
    )


def _colours(c: dict[str, str]) -> str:
    return (
        f"text{{fill:{c['ink']}}}.muted,.small{{fill:{c['muted']}}}"
        f".paper{{fill:{c['paper']};stroke:{c['line']}}}.sunken{{fill:{c['sunken']}}}.line{{fill:{c['line']}}}"
        f".box{{fill:none;stroke:{c['line']}}}.slot{{fill:{c['paper']};stroke:{c['muted']}}}"
        f".cells{{stroke:{c['paper']};stroke-opacity:.6}}.wrong{{stroke:{c['wrong']}}}.tag{{fill:{c['wrong']}}}"
        f".tagged{{fill:{c['paper']}}}.wp{{fill:{c['wrong-paper']}}}"
        f".wl{{stroke:{c['wrong']};stroke-opacity:.17;stroke-width:2}}"
    )
