"""What every page is made of: data that cannot break out, a policy that lets nothing in."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files

from hypothesis import given
from hypothesis import strategies as st

from mapcount.report.html.page import json_for_script
from mapcount.report.html.playback import play, playback_page
from mapcount.scenario.parse import parse
from mapcount.tracking.flavour import PAGE_MAPCOUNT

HOSTILE = "</script><img src=x onerror=alert(1)>{{ 7*7 }}"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(VALUES)
def test_data_survives_and_stays_inside_its_element(value: object) -> None:
    """What a script reads is what was put in, and no character of it means anything to HTML."""
    text = json_for_script(value)
    assert value == json.loads(text)
    assert not set("<>&\u2028\u2029") & set(text)


def _page() -> str:
    story = parse(f"# {HOSTILE}\n# {HOSTILE}\nP mmap heap 64K # {HOSTILE}\n", f"/tmp/{HOSTILE}.scn")
    return playback_page([play(story, PAGE_MAPCOUNT)]).decode()


def test_text_of_users_is_escaped_wherever_it_stands() -> None:
    """A hostile title, comment or file name puts no element and no expression on the page."""
    page = _page()
    assert "<img" not in page
    assert "49" not in re.sub(r"<(style|script).*?</\1>", "", page, flags=re.S)
    assert 2 == page.count("</script>")


def test_the_policy_allows_our_script_and_nothing_else() -> None:
    """The page names the hash of its one script; it loads nothing and mentions no host."""
    page = _page()
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert f"script-src 'sha256-{digest}'" in policy.replace("&#39;", "'")
    assert "default-src 'none'" in policy.replace("&#39;", "'")
    assert {"http://www.w3.org/2000/svg"} == set(re.findall(r"https?://[^\"' )]+", page))


def test_scripts_make_text_of_text() -> None:
    """No script of ours turns a string into elements or code."""
    for asset in (files("mapcount.report.html") / "assets").iterdir():
        code = "\n".join(line.split("//")[0] for line in asset.read_text().splitlines())
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
            assert word not in code, asset.name
