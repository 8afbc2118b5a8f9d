"""What only describes an asset is no part of its code version."""

import textwrap

import pytest

import fti_assets as fti
from fti_assets.core.decorators import without_words

WORDS = ("description", "owners", "tags")


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ('@g(ttl="1d", description="x, y)", lookback="4d")', '@g(ttl="1d", lookback="4d")'),
        ('@g(description="x", ttl="1d")', '@g(ttl="1d")'),
        ('@g(ttl="1d", owners=["a"], tags={"k": "(,"})', '@g(ttl="1d")'),
        ('@g(ttl="1d", owners=["a"], rest=1, tags={"k": "ä"})', '@g(ttl="1d", rest=1)'),
        ('@g(name="ä", description="ö", ttl="1d")', '@g(name="ä", ttl="1d")'),
        ('@g(\n    ttl="1d",\n    description="x",\n)', '@g(\n    ttl="1d",\n)'),
        ('@g(\n    ttl="1d",\n    description="x",\n    **more,\n)', '@g(\n    ttl="1d",\n    **more,\n)'),
        ('@other\n@g(description="x")', "@other\n@g()"),
        ("@g", "@g"),
        ("@g()", "@g()"),
    ],
)
def test_text_is_that_of_one_that_never_had_them(written: str, left: str) -> None:
    body = '\ndef rows(description="stays"):\n    return f(description="stays")  # ä\n'
    assert without_words(written + body, WORDS) == left + body
    indented = textwrap.indent(written + body, "    ")
    assert without_words(indented, WORDS) == textwrap.indent(left + body, "    ")


def test_what_is_no_function_stays() -> None:
    for text in ("", "lambda x: (x", "x = 1\n", "    ), key=lambda value: value,\n"):
        assert without_words(text, WORDS) == text


def test_a_description_makes_nothing_stale() -> None:
    def version(group: fti.FeatureGroup) -> str | None:
        (spec,) = group.assets_def.specs
        return spec.code_version

    def plain() -> fti.FeatureGroup:
        @fti.feature_group(keys=["id"])
        def rows() -> None: ...

        return rows

    def described() -> fti.FeatureGroup:
        @fti.feature_group(keys=["id"], description="rows")
        def rows() -> None: ...

        return rows

    def holding(value: int, *, described: bool) -> fti.FeatureGroup:
        if described:

            @fti.feature_group(keys=["id"], description="rows")
            def rows() -> int:
                return value
        else:

            @fti.feature_group(keys=["id"])
            def rows() -> int:
                return value

        return rows

    def changed() -> fti.FeatureGroup:
        @fti.feature_group(keys=["id"], description="rows", tie_break="x", event_time="at")
        def rows() -> None: ...

        return rows

    assert version(plain()) == version(described()) != version(changed())
    assert version(holding(1, described=True)) == version(holding(1, described=False))
    assert version(holding(1, described=True)) != version(holding(2, described=True))
