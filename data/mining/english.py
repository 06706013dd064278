"""Whether a comment is written in English, by its letters and its commonest words alone."""

import re

_MIN_ASCII = 0.8  # share of the letters; identifiers keep even a Chinese comment above zero


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ENGLISH = _words(
    "the of and to is that it for with this be are from by not or if when as on at an was can which will has"
    " have does should must into all any each other than then its whether returns return given used using new"
    " only also first last value file one two per no such some before after"
)
# French, German, Spanish and Portuguese, Italian, Dutch, Polish, Turkish, Indonesian; no word that English or
# programming uses as well, such as os, per, die or list.
_OTHER = _words(
    "le la les une dans pour avec est sont pas qui que sur cette ces aux ou où et du au ce elle fichier"
    " valeur retourne renvoie liste fonction permet chaque être"
    " der das und ist nicht mit für auf ein eine einer eines wird werden den dem von zu zum zur oder wenn wir"
    " sich auch aus bei nach gibt alle datei wert zurück über"
    " los las una para con por del esta este como más función archivo devuelve lista cada retorna não uma ao"
    " das você são função arquivo"
    " gli della nel questo questa che sono è het een van voor niet wordt deze jest nie dla się oraz bir için"
    " bu ile yang untuk dengan dari adalah"
)
_WORD = re.compile(r"[^\W\d_]+")


def is_english(text: str) -> bool:
    """Whether prose reads as English; a text with no word of any known language is taken for it.

    >>> is_english("Reads the whole file."), is_english("Lit le fichier dans son entier.")
    (True, False)
    """
    letters = [letter for letter in text if letter.isalpha()]
    if sum(letter.isascii() for letter in letters) < _MIN_ASCII * len(letters):
        return False
    words = _WORD.findall(text.lower())
    return sum(word in _OTHER for word in words) <= sum(word in _ENGLISH for word in words)
