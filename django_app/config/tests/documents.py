"""Pages as a browser reads them, to be compared."""

import re
from html.parser import HTMLParser

VOID = {"br", "hr", "img", "input", "link", "meta"}
# Between these, white space means nothing.
BLOCKS = {
    *(
        "!doctype",
        "html",
        "head",
        "title",
        "meta",
        "link",
        "body",
        "header",
        "main",
        "footer",
        "nav",
        "section",
        "article",
    ),
    *("div", "p", "pre", "h1", "h2", "h3", "ul", "ol", "li", "dl", "dt", "dd", "article", "figure", "figcaption"),
    *("table", "thead", "tbody", "tr", "th", "td"),
    *("form", "fieldset", "legend", "label", "select", "option", "textarea", "button"),
}
RANDOM = re.compile(r"\b\d+\.\d ms\b")  # how long the status page's checks took


class Document(HTMLParser):
    """A list of tags, with sorted attributes, and of texts, with their white space as it is shown."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[tuple] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"
        self._tidy()

    def handle_decl(self, decl):
        self.parts.append(("open", f"!{decl.lower()}", ()))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        assert len(values) == len(attrs), f"an attribute given twice: {tag} {attrs}"
        if values.get("name") == "csrfmiddlewaretoken":
            assert re.fullmatch(r"[A-Za-z0-9]{64}", values["value"])
            values["value"] = "a token"
        self.parts.append(("open", tag, tuple(sorted(values.items()))))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open and self._open[-1] == tag, f"</{tag}> within {self._open}"
        self._open.pop()
        self.parts.append(("close", tag))

    def handle_comment(self, data):
        raise AssertionError(f"a comment that everybody can read: {data}")

    def handle_data(self, data):
        self.parts.append(("text", RANDOM.sub("some ms", re.sub(r"\s+", " ", data))))

    def _tidy(self):
        parts, self.parts = self.parts, []
        for number, part in enumerate(parts):
            if part[0] == "text":
                text = part[1]
                if number == 0 or parts[number - 1][1].split()[0] in BLOCKS:
                    text = text.lstrip()
                if number + 1 == len(parts) or parts[number + 1][1].split()[0] in BLOCKS:
                    text = text.rstrip()
                if not text:
                    continue
                part = ("text", text)
            self.parts.append(part)

    @property
    def words(self) -> str:
        """All texts and values of attributes."""
        texts = [part[1] for part in self.parts if part[0] == "text"]
        return " | ".join([*texts, *(value or "" for part in self.parts if part[0] == "open" for _, value in part[2])])

    @property
    def structure(self) -> list[tuple]:
        """Tags and the names of their attributes."""
        return [
            (part[0], part[1], [name for name, _ in part[2]] if part[2:] else [])
            for part in self.parts
            if part[0] != "text"
        ]
