"""What a person would type to find a function, taken from the comment on it."""

import html
import re

_PARAGRAPH_END = re.compile(
    r"^\s*(@\w+|\\(param|return|brief)|:[\w-][\w -]*:(?!`)|(args|arguments|parameters|params|returns?|raises"
    r"|yields?|examples?|usage|notes?|attributes|see also|safety|panics|errors|throws|todo)\s*:?\s*$"
    r"|<(param|typeparam|returns|remarks|example|exception|value|seealso)\b"
    r"|[-=~#*]{3,}|#+ |```|>>>|\.\. )",
    re.IGNORECASE | re.MULTILINE,
)
_ROLE = re.compile(r":\w+(?::\w+)?:`~?([^`]*)`")
_INLINE_TAG = re.compile(r"\{@(?:link|code|linkplain|literal|see)\s+([^}]*)\}")
_RST_LINK = re.compile(r"`([^`<]+?)\s*<[^>]+>`__?")
_HTML_TAG = re.compile(
    r"</?(p|para|summary|code|c|pre|b|i|em|strong|tt|br|ul|ol|li|a|div|span|table|tr|td|th|h[1-6]|blockquote"
    r"|sub|sup|dl|dt|dd|see)(\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_XML_NAME = re.compile(r"""<(?:see|paramref|typeparamref)\s+\w+=["'](?:\w:)?([^"']*)["']\s*/?>""")  # C#
_LINK = re.compile(r"\[([^\]]+)\](?:\([^)\s]+\)|\[[^\]]*\])")


def query_of(comment: str) -> str:
    """The first paragraph of a comment in one line, as a person would type it: no markup, no parameters."""
    paragraph = re.split(r"\n\s*\n", comment.strip(), maxsplit=1)[0]
    paragraph = re.sub(r"^\s*[@\\](brief|description|summary|desc)\s+", "", paragraph, flags=re.IGNORECASE)
    end = _PARAGRAPH_END.search(paragraph)
    text = paragraph[: end.start()] if end else paragraph
    for markup in (_ROLE, _RST_LINK, _INLINE_TAG, _XML_NAME, _LINK):
        text = markup.sub(r"\1", text)
    text = html.unescape(_HTML_TAG.sub(" ", text)).replace("``", "`")
    return " ".join(text.split())
