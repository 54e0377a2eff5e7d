"""Words that an API version cannot say: what it shows in their place says nothing against them (H5)."""

from __future__ import annotations

from msgspec.structs import replace

from etl.extract.versions import versions_of
from etl.transform.job_fields import FIELDS, interval_minutes
from etl.transform.normal_form import in_normal_form
from etl.transform.records import Schedule

_WORDS = tuple((each.name, word, since) for each in FIELDS for word, since in each.later_words.items())


def as_understood(sent: Schedule, known: Schedule, api_version: int) -> Schedule:
    """Return what a reading means beside the policy that is known: with the known words that it could not say."""
    for name, word, (since, instead) in _WORDS:
        if api_version < since.number and getattr(known, name) == word and getattr(sent, name) == instead:
            sent = _with_word(sent, name, word)
    return sent


def as_it_was(known: Schedule, read_by: int, sent: Schedule) -> Schedule:
    """Return what the known policy was: with the words now sent, if none that read it (a bit mask) could say them."""
    for name, word, (since, instead) in _WORDS:
        is_told_now = getattr(sent, name) == word and getattr(known, name) == instead
        if is_told_now and all(each.number < since.number for each in versions_of(read_by)):
            known = _with_word(known, name, word)
    return known


def as_read_by(known: Schedule, read_by: int) -> Schedule:
    """Return the policy as API versions (a bit mask) have told it: with what they say in place of later words.

    A word in place of which they say nothing stays: what else they told then is gone.
    """
    for name, word, (since, instead) in _WORDS:
        is_told = any(each.number >= since.number for each in versions_of(read_by))
        if instead is not None and getattr(known, name) == word and not is_told:
            known = _with_word(known, name, instead)
    return known


def may_stand_for_another(schedule: Schedule, name: str, api_version: int) -> bool:
    """Tell whether a field of a reading may mean a word that this API version cannot say."""
    return any(
        name == field and api_version < since.number and getattr(schedule, name) == instead
        for field, _, (since, instead) in _WORDS
    )


def _with_word(schedule: Schedule, name: str, word: str) -> Schedule:
    minutes = {"interval_minutes": interval_minutes(word)} if name == "periodically_every" else {}
    return in_normal_form(replace(schedule, **{name: word}, **minutes))
