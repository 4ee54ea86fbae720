"""What the small files beside a checkpoint's weights say about how a text becomes a vector.

Code of its own (`auto_map`), and the files of sentence-transformers: which modules stand behind
the model, how it pools, what it writes before a text, how long a text may be. Nothing here obeys
them, since an encoder's entry says all of that: they are compared with the entry, and what would
be left out silently is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wellspring.config.vocabulary import Side
from wellspring.errors import ModelError

MODULES = "modules.json"
TRANSFORMER = tuple(
    f"sentence_{family}_config.json"
    for family in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Names that sentence-transformers has used for the settings of its own module."""
PROMPTS = "config_sentence_transformers.json"
FILES = (MODULES, PROMPTS, *TRANSFORMER)
FOLDER = re.compile(r"\d{1,2}_[A-Za-z]{1,40}")
"""Folders of modules after the model; each has a config.json."""

POOLINGS = {"cls": "cls", "mean": "mean", "lasttoken": "eos"}
"""What sentence-transformers calls a pooling → what an encoder's entry calls it."""
FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
HARMLESS = ("Transformer", "Pooling", "Normalize", "Dropout")
"""Modules that an entry can say, or that do nothing outside training."""
NOT_RUN = "which is not run: transformers' class of that name may be another model"
SIDES = {"query": ("query",), "passage": ("document", "passage", "corpus")}
"""Side → the names that its prompt may have, in order of preference."""


@dataclass(frozen=True)
class Conventions:
    """What a checkpoint's files say; empty where they say nothing."""

    own_code: tuple[str, ...] = ()
    """Files that name code of the checkpoint's own."""
    dense: tuple[str, ...] = ()
    """Linear layers after the pooling."""
    modules: tuple[str, ...] = ()
    """Other modules that no entry can say."""
    pooling: tuple[str, ...] = ()
    """sentence-transformers' names; several are concatenated."""
    normalise: bool | None = None
    """Whether vectors are divided by their length; None without sentence-transformers' files."""
    lower_case: bool = False
    """Whether texts are put into lower case before they are split."""
    longest: Mapping[str, int] = field(default_factory=dict)
    """Side → tokens at most."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """Side → what is written before a text."""
    prompt_pooled: bool = True
    """Whether the prompt's tokens take part in the pooling."""

    def summary(self) -> Iterator[str]:
        """What the files say, in words."""
        if self.own_code:
            yield f"code of its own, named in {' and '.join(self.own_code)}"
        if self.pooling:
            yield f"pooling: {' + '.join(POOLINGS.get(name, name) for name in self.pooling)}"
        if self.normalise is not None:
            yield f"normalise: {str(self.normalise).lower()}"
        for side, tokens in self.longest.items():
            yield f"{side}_length: {tokens}"
        for side, prompt in self.prompts.items():
            pooled = "" if self.prompt_pooled else " (left out of the pooling)"
            yield f"{side}_template: {prompt + '{text}'!r}{pooled}"
        if self.lower_case:
            yield "texts in lower case"
        if self.dense or self.modules:
            yield f"modules behind it: {', '.join((*self.dense, *self.modules))}"


def read(checkpoint: Path, adapter: Path | None = None) -> Conventions:
    """The conventions of a checkpoint folder, and of the adapter's folder where that has its own.

    Raises ModelError for a file that is no JSON of its kind.
    """
    own = [
        name
        for name in ("config.json", "tokenizer_config.json")
        if _object(checkpoint / name).get("auto_map")
    ]
    folder = adapter if adapter and (adapter / MODULES).is_file() else checkpoint
    if not (folder / MODULES).is_file():
        return Conventions(own_code=tuple(own))
    kinds = list(_modules(folder / MODULES))
    foreign = any(not kind.startswith("sentence_transformers.") for kind, _ in kinds)
    named = [(kind.rpartition(".")[2], path) for kind, path in kinds]
    others = [(kind, path or kind) for kind, path in named if kind not in HARMLESS]
    pooled = next((path for kind, path in named if kind == "Pooling"), None)
    pooling = _object(folder / pooled / "config.json") if pooled is not None else {}
    transformer = _transformer(folder, next((path for kind, path in named), ""))
    return Conventions(
        own_code=(*own, *([MODULES] if foreign else [])),
        dense=tuple(path for kind, path in others if kind == "Dense"),
        modules=tuple(path for kind, path in others if kind != "Dense"),
        pooling=_pooling(pooling) if pooled is not None else (),
        normalise=any(kind == "Normalize" for kind, _ in named),
        lower_case=transformer.get("do_lower_case") is True and not _lowers(folder),
        longest=_longest(folder, transformer),
        prompts=_prompts(_object(folder / PROMPTS)),
        prompt_pooled=pooling.get("include_prompt") is not False,
    )


def refuse(conventions: Conventions, acknowledged: Collection[str]) -> None:
    """Raise ModelError for what would be left out and is not acknowledged."""
    for key, names, consequence in (
        ("own-code", conventions.own_code, f"code of its own, {NOT_RUN}"),
        ("dense", conventions.dense, "a linear layer behind the pooling, which is left out"),
        (
            "modules",
            conventions.modules,
            "a module that no encoder here has, and which is left out",
        ),
    ):
        if names and key not in acknowledged:
            raise ModelError(
                f"the checkpoint has {consequence} ({', '.join(names)}): where that is meant, say "
                f"so with acknowledge: [{key}]"
            )


def disagreements(
    conventions: Conventions,
    side: Side,
    pooling: str,
    template: str,
    length: int,
    normalise: bool,
) -> Iterator[str]:
    """Where an encoder's entry contradicts the checkpoint's files, a line each."""
    names = tuple(POOLINGS.get(name, name) for name in conventions.pooling)
    if names and names != (pooling,):
        yield f"the checkpoint pools by {' + '.join(names)}, the entry says pooling: {pooling}"
    if conventions.normalise is not None and conventions.normalise != normalise:
        does = "normalises" if conventions.normalise else "does not normalise"
        yield f"the checkpoint {does} vectors, the entry says normalise: {str(normalise).lower()}"
    if (longest := conventions.longest.get(side, length)) != length:
        yield f"the checkpoint reads {longest} tokens at most, the entry says {length}"
    prompt, before = conventions.prompts.get(side, ""), template.partition("{text}")[0]
    if prompt and prompt != before:
        yield f"the checkpoint writes {prompt!r} before a text, the entry says {template!r}"
    if before and not conventions.prompt_pooled:
        yield "the checkpoint leaves the prompt out of the pooling, which no encoder here does"
    if conventions.lower_case:
        yield "the checkpoint puts texts into lower case, which no encoder here does"


def _object(path: Path) -> dict[str, Any]:
    """A JSON file's mapping; empty where there is no file."""
    content = _json(path)
    if not isinstance(content, dict):
        raise ModelError(f"{path}: must be a JSON object")
    return content


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None


def _modules(path: Path) -> Iterator[tuple[str, str]]:
    """Class and folder of each module, in their order; the model itself may have no folder."""
    content = _json(path)
    for entry in content if isinstance(content, list) else [content]:
        kind, folder = (
            entry.get(key) if isinstance(entry, dict) else None for key in ("type", "path")
        )
        named = folder is None or isinstance(folder, str)
        if not (isinstance(kind, str) and named and re.fullmatch(r"\w[\w.-]*|", folder or "")):
            raise ModelError(f"{path}: is no list of modules of sentence-transformers")
        yield kind, folder or ""


def _pooling(content: Mapping[str, Any]) -> tuple[str, ...]:
    mode = content.get("pooling_mode")
    if mode is None:
        # Before it had that key, a flag stood for each; mean where none is set.
        mode = [name for flag, name in FLAGS.items() if content.get(flag)] or "mean"
    return (mode,) if isinstance(mode, str) else tuple(map(str, mode))


def _transformer(folder: Path, subfolder: str) -> dict[str, Any]:
    contents = (_object(folder / subfolder / name) for name in TRANSFORMER)
    return next((content for content in contents if content), {})


def _longest(folder: Path, transformer: Mapping[str, Any]) -> dict[str, int]:
    tokenizer = _object(folder / "tokenizer_config.json").get("model_max_length")
    both = transformer.get("max_seq_length") or tokenizer
    lengths = {
        "query": transformer.get("query_length") or both,
        "passage": transformer.get("document_length") or both,
    }
    # A tokenizer without a limit writes 10^30.
    return {side: n for side, n in lengths.items() if isinstance(n, int) and n < 10**6}


def _prompts(content: Mapping[str, Any]) -> dict[str, str]:
    prompts = content.get("prompts") or {}
    if not isinstance(prompts, dict):
        return {}
    default, chosen = content.get("default_prompt_name"), {}
    for side, names in SIDES.items():
        named = [prompts[name] for name in names if name in prompts]
        # An empty one says that nothing is written; without any, the default is.
        chosen[side] = next(filter(None, named), "") if named else prompts.get(default)
    return {side: prompt for side, prompt in chosen.items() if isinstance(prompt, str) and prompt}


def _lowers(folder: Path) -> bool:
    """Whether the tokenizer itself puts texts into lower case."""
    rule = _object(folder / "tokenizer.json").get("normalizer") or {}
    rules = [rule, *(rule.get("normalizers") or [])]
    return any(each.get("type") == "Lowercase" or each.get("lowercase") for each in rules)
