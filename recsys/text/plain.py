"""What a document's text column holds -> plain text, and the language that it is in.

Enters: text as somebody stored it: with remnants of markup, in compatibility forms, or decoded in
the wrong alphabet. Leaves: what a person would read of it, at most `MAX_CHARACTERS`.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import cache
from typing import Any

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from recsys.text.terms import MAX_CHARACTERS

__all__ = ["language", "plain"]

_TAG = re.compile(
    r"<(?:script|style)\b.*?</(?:script|style)\s*>|<!--.*?-->|</?[a-zA-Z][^<>]{0,500}>",
    re.DOTALL | re.IGNORECASE,
)
_WRONG_ALPHABET = re.compile("[ÂÃÅâ][\u0080-¿Œœ\u0160\u0161\u0178\u017d\u017eƒˆ˜–—‘’‚“”„†‡•…‰‹›€™]")
_LANGUAGE_SAMPLE = 4000
"""Characters that the language is judged by."""


def plain(text: str) -> str:
    """Return `text` without markup, in compatibility form (NFKC), repaired where it can be.

    UTF-8 that was read as Windows-1252 (*BjÃ¶rk*) is read again; where that fails it stays.
    """
    text = text[:MAX_CHARACTERS]
    if "<" in text:
        text = _TAG.sub(" ", text)
    if "&" in text:
        text = html.unescape(text)
    if _WRONG_ALPHABET.search(text):
        text = _repaired(text)
    return unicodedata.normalize("NFKC", text)[:MAX_CHARACTERS]


def language(text: str) -> str:
    """Return the ISO 639-1 code of the language that `text` is most likely in; "" for no text."""
    return str(_identifier().classify(text[:_LANGUAGE_SAMPLE])[0]) if text else ""


def _repaired(text: str) -> str:
    try:
        return text.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return text


@cache
def _identifier() -> Any:
    return LanguageIdentifier.from_model_file(MODEL_FILE)
