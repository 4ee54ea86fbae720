"""What the site takes from the repository when it is built, so that no page is a copy.

README.md is the home page. The configuration's pages are written from its JSON schema. The pages of
the results are results/README.md, cut at its headings. Other pages link to these files, so that the
links lead somewhere in the repository, too. A page that loads something from another server fails
the build.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "results" / "README.md"
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.json"

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)]+)\)")
"""An image or a link: mark, text, target."""
SOURCES = {
    "../results/README.md": "results",
    "../workflow/schemas/config.schema.json": "configuration",
}
"""A file as a page of docs/ names it → the folder of the pages that are made from it."""
REMOTE = re.compile(
    r"<(?:script|img|iframe)\b[^>]*\bsrc=\W?(?:https?:)?//|<link\b[^>]*\bhref=\W?http"
)
"""What a browser would load from another server."""

Schema = dict[str, Any]


def on_config(config: Any) -> Any:
    """Puts generated pages in the place of a navigation entry that ends with a slash."""
    pages = sorted(generated(), key=lambda path: not path.endswith("index.md"))
    for entry in config.nav:
        for title, folder in entry.items():
            if isinstance(folder, str) and folder.endswith("/"):
                own = [path for path in pages if path.startswith(folder)]
                entry[title] = own[0] if len(own) == 1 else own
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the generated pages."""
    from mkdocs.structure.files import File

    for path, text in generated().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Lets links to the files of SOURCES lead to the generated pages."""
    return linked(markdown)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Refuses a page that loads something from another server."""
    from mkdocs.exceptions import PluginError

    if remote := REMOTE.search(output):
        raise PluginError(f"{page.file.src_uri} loads {remote[0]}…: assets must be local")
    return output


def generated() -> dict[str, str]:
    """Markdown of each generated page, by its path."""
    return {"index.md": home()} | results() | configuration()


def home() -> str:
    """README.md, whose links to docs/ become links to pages and other relative ones plain text."""

    def adapted(match: re.Match[str]) -> str:
        mark, text, target = match.groups()
        if target.startswith("docs/"):
            return f"{mark}[{text}]({target.removeprefix('docs/')})"
        if target.startswith("results/README.md"):
            return f"[{text}](results/index.md)"
        return match[0] if target.startswith("http") else text

    return LINK.sub(adapted, README.read_text(encoding="utf-8"))


def linked(text: str) -> str:
    """A page's text, in which a link to a file of SOURCES leads to a page: the one that the part
    behind # names, or the first."""

    def adapted(match: re.Match[str]) -> str:
        mark, label, target = match.groups()
        file, _, name = target.partition("#")
        if file not in SOURCES:
            return match[0]
        return f"{mark}[{label}]({SOURCES[file]}/{name or 'index'}.md)"

    return LINK.sub(adapted, text)


def results() -> dict[str, str]:
    """A page of results/README.md, and one for each of its level-2 headings."""
    first, *parts = re.split(r"^## ", RESULTS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    pages = {"results/index.md": first}
    for part in parts:
        name = re.sub(r"\W+", "-", part.partition("\n")[0].lower()).strip("-")
        pages[f"results/{name}.md"] = f"# {part}"
    return pages


def configuration() -> dict[str, str]:
    """A page of the configuration's keys, and one for each key that has more to say."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    keys, classes = schema["properties"], schema["$defs"]
    entries = {key: list(dict.fromkeys(_references(part))) for key, part in keys.items()}
    entries = {key: names for key, names in entries.items() if names}
    homes = {names[0]: f"{key}.md" for key, names in entries.items() if len(names) == 1}
    # The values of a catalogue's formats have a page of their own: with them it would be too long.
    for key, names in entries.items():
        if len(names) > 1:
            own = _reached(names, Reference(classes, homes, f"{key}.md"))[len(names) :]
            homes |= dict.fromkeys(own, f"{key}-values.md")
    # So have blocks of the study that have blocks of their own.
    blocks = [
        name
        for name in dict.fromkeys(_references(classes[entries["study"][0]]))
        if any(_references(classes[name]))
    ]
    for name in blocks:
        page = f"study-{_anchor(_heading(classes[name]))}.md"
        homes |= dict.fromkeys(_reached([name], Reference(classes, homes, page)), page)
    pages = {"index": _front(schema, entries)} | {
        key: _page(key, keys[key], names, Reference(classes, homes, f"{key}.md"))
        for key, names in entries.items()
    }
    for home in sorted({home for home in homes.values() if home.endswith("-values.md")}):
        own = [name for name in homes if homes[name] == home]
        key = home.removesuffix("-values.md")
        part = {"description": f"What keys of [{key}]({key}.md) take."}
        pages[home.removesuffix(".md")] = _page(
            f"{key}: values", part, own, Reference(classes, homes, home)
        )
    for name in blocks:
        heading, home = _heading(classes[name]), homes[name]
        pages[home.removesuffix(".md")] = _page(
            f"study: {heading}", classes[name], [name], Reference(classes, homes, home)
        )
    return {f"configuration/{name}.md": "\n".join(lines) + "\n" for name, lines in pages.items()}


@dataclass(frozen=True)
class Reference:
    """What a page of the configuration is written from.

    Attributes:
        classes: the schema's classes by their names.
        homes: the page of each class that is the entry of a catalogue.
        page: the one that is written.
    """

    classes: dict[str, Schema]
    homes: dict[str, str]
    page: str

    def is_here(self, name: str) -> bool:
        """Whether a class is described on this page."""
        return self.homes.get(name, self.page) == self.page

    def link(self, name: str) -> str:
        """A link to where a class is described."""
        heading = _heading(self.classes[name])
        return f"[{heading}]({f'#{_anchor(heading)}' if self.is_here(name) else self.homes[name]})"


def _front(schema: Schema, entries: Mapping[str, list[str]]) -> Iterator[str]:
    yield from ("# Configuration", "", _words(schema), "")
    yield from ("| key | meaning |", "| --- | --- |")
    for key, part in schema["properties"].items():
        name = f"[`{key}`]({key}.md)" if key in entries else f"`{key}`"
        yield f"| {name} | {_words(part)} |"
    yield from ("", "[Writing a configuration](../writing.md) says how files are merged.")


def _page(key: str, part: Schema, entries: list[str], reference: Reference) -> Iterator[str]:
    classes = reference.classes
    yield from (f"# `{key}`", "", _words(part), "")
    if "patternProperties" in part:
        yield from ("A mapping: a name of your choice, and an entry with the keys below.", "")
    shared = _shared([classes[name] for name in entries])
    if shared:
        needed = {key for name in entries for key in classes[name].get("required", [])}
        yield from ("`format` names a section below.", "")
        yield from ("## Keys of several formats", "", *_table(shared, reference, needed), "")
    for name in _reached(entries, reference):
        body, hidden = classes[name], shared if name in entries else {}
        own = {k: v for k, v in body.get("properties", {}).items() if hidden.get(k) != v}
        if name in entries and "format" in own:
            # The page says it once.
            del own["format"]
        if [name] != entries:
            yield from (f"## {_heading(body)}", "", _words(body), "")
        if hidden:
            others = ", ".join(f"`{key}`" for key in hidden if key not in body["properties"])
            yield from (f"Takes the keys above, too{', but for ' if others else ''}{others}.", "")
        if own:
            yield from (*_table(own, reference, body.get("required", [])), "")


def _shared(bodies: list[Schema]) -> Schema:
    """The keys that two entries or more have in the same form: they stand once."""
    every = [(k, v) for body in bodies for k, v in body["properties"].items()]
    return {k: v for k, v in every if every.count((k, v)) > 1}


def _reached(names: list[str], reference: Reference) -> list[str]:
    """Those classes and the ones that their keys have, as far as they belong on this page, each
    once, in order of appearance."""
    reached = list(names)
    for name in reached:
        further = filter(reference.is_here, _references(reference.classes[name]))
        reached += [each for each in further if each not in reached]
    return list(dict.fromkeys(reached))


def _references(part: Any) -> Iterator[str]:
    """Names of the classes that a part of the schema refers to."""
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"].rpartition("/")[2]
        part = [value for key, value in part.items() if key not in ("discriminator", "default")]
    if isinstance(part, list):
        for each in part:
            yield from _references(each)


def _table(keys: Schema, reference: Reference, required: Container[str]) -> list[str]:
    rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for key, part in keys.items():
        value = _value(part, reference).replace("|", "\\|")
        meaning = _words(part) or _words(reference.classes.get(next(_references(part), ""), {}))
        rows.append(f"| `{key}` | {value} | {_default(key, part, required)} | {meaning} |")
    return rows


def _default(key: str, part: Schema, required: Container[str]) -> str:
    if key in required or "const" in part:
        return "required"
    default = part.get("default")
    if default is None or default == {}:
        return ""
    return "`" + json.dumps(default, ensure_ascii=False).replace('"', "") + "`"


def _value(part: Schema, reference: Reference) -> str:
    """What a key takes, in a few words."""
    if "$ref" in part:
        return reference.link(part["$ref"].rpartition("/")[2])
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return ", ".join(f"`{each}`" for each in part["enum"])
    if options := part.get("anyOf") or part.get("oneOf"):
        texts = [_value(each, reference) for each in options if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(texts))
    if part.get("type") == "array":
        return f"a list of: {_value(part.get('items', {}), reference)}"
    if part.get("type") == "object":
        inner = next(iter(part.get("patternProperties", {}).values()), None)
        inner = inner or part.get("additionalProperties")
        inner = _value(inner, reference) if isinstance(inner, dict) else "values"
        return f"a mapping to: {inner}"
    kinds = {"string": "text", "integer": "whole number", "boolean": "`true`, `false`"}
    kinds |= {"null": "nothing"}
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    ends = [f"{sign} {part[name]}" for name, sign in limits.items() if name in part]
    kind = kinds.get(part.get("type", ""), part.get("type", "any"))
    return " ".join([kind, ", ".join(ends)]).strip()


def _heading(body: Schema) -> str:
    """A format's heading is its name; another class's the name of the class in words."""
    if "const" in (form := body.get("properties", {}).get("format", {})):
        return f"format {form['const']}"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", body["title"]).lower()


def _anchor(heading: str) -> str:
    return heading.replace(" ", "-")


def _words(part: Schema) -> str:
    """A description as one line of a table."""
    text = " ".join(part.get("description", "").split())
    return text.replace("|", "\\|")
