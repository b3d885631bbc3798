"""One self-contained HTML file: a template, our style and scripts in it, the data as JSON.

Everything that users wrote is data: Jinja2 escapes it in the text, `json_for_script` in the data. The page's
own policy forbids the browser to load anything and to run any script but ours, named by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mapcount.scenario.syntax import visible


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mapcount.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    return environment


def asset(name: str) -> str:
    """The text of one of our style sheets or scripts."""
    return (files("mapcount.report.html") / "assets" / name).read_text(encoding="utf-8")


def json_for_script(data: Any) -> Markup:
    """`data` as JSON that ends neither the script element around it nor a line, whatever strings it holds."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _policy(script: str) -> str:
    """The content security policy: nothing is loaded, no script runs but this one."""
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def render(template: str, *, data: Any, styles: Sequence[str], scripts: Sequence[str], **names: Any) -> bytes:
    """The page that `template` makes of `names`, with `data` for its scripts, as UTF-8.

    `styles` and `scripts` are names of assets, in the order in which the page needs them.
    """
    style = "\n".join(asset(name) for name in ("base.css", *styles))
    script = "\n".join(asset(name) for name in ("base.js", *scripts))
    text = (
        _environment()
        .get_template(template)
        .render(
            style=Markup(style),
            script=Markup(script),
            policy=_policy(script),
            data=json_for_script(data),
            version=version("mapcount"),
            **names,
        )
    )
    return text.encode("utf-8", errors="backslashreplace")
