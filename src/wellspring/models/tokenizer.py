"""A checkpoint's tokenizer, loaded so that it splits texts as the checkpoint's files say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tokenizers
import transformers

from wellspring.errors import ModelError

PROBES = (
    "where does the knowledge of a retriever come from?",
    "Où  naît le SAVOIR, Dr. Épée? 42 % \n 知识 co-operate",
    # Numbers of every length, alone and with what stands in and around them.
    *("1234567890123456789"[:digits] for digits in range(1, 20)),
    "3.14159 -2.5e-10 1,234,567.89 2024-11-25 10:30 12½ x²³ 0xFF 99% $5 №7 ⅷ ٣٤٥",
    # Accents as one character and as two, ligatures, wide and narrow forms.
    "café naïve Ångström Übung Đặng Việt ǖ",
    "cafe\u0301 nai\u0308ve A\u030angstro\u0308m U\u0308bung u\u0308\u0304",
    "ﬁne ﬀ ＡＢＣ１２３ ﷺ ㎏ ™ ª ſ ß ẞ İstanbul ıI",
    # Scripts.
    "Привет, мир! Ёлка. Γειά σου Κόσμε ΟΔΥΣΣΕΥΣ Բարեւ",
    "مرحبًا بالعالم שָׁלוֹם עולם नमस्ते दुनिया สวัสดีชาวโลก",
    "東京タワーへ行きました。ｶﾀｶﾅ ひらがな 你好，世界！ 안녕하세요 \u1112\u1161\u11ab",
    # Emoji, joined and coloured, flags, and what stands beyond the basic plane.
    "😀 👍🏽 👩‍👩‍👧‍👦 🇫🇷 ❤️ ☃ 𝒳𝔂 𐍈 🤖🤖🤖",
    # White space and what is not seen.
    " leading", "trailing ", "two  three   four    five", "tab\tline\nend\r\nnext\n\n\nlast",
    "no\u00a0break thin\u2009space ideo\u3000graphic zero\u200bwidth soft\u00adhyphen \ufeffmark",
    "null\x00 bell\x07 delete\x7f replacement\ufffd",
    # Addresses, code, contractions, punctuation, capitals.
    "https://www.example.org/a_b-c?q=1&r=%20#top someone@example.org #tag @name C:\\dir",
    "def f(x: int) -> float:\n    return x**2 / 3.0  # half\n\tif (a!=b) && !c { d[i]++; }",
    "don't I'll we've they're it's DON'T o'clock rock'n'roll",
    "“quoted” ‘single’ — en–dash … (a)[b]{c}<d> a/b\\c ~`^*_= «»¿¡ 。、",
    "CamelCase snake_case kebab-case ALLCAPS iPhone U.S.A. Ph.D. e.g. etc.",
    # Long runs, and a word that no vocabulary has.
    "a" * 60, "=" * 40, "!?" * 20, "." * 30, "ha" * 40, "qzxjkvbwpfy",
)  # fmt: skip
"""Texts that tokenizers of different rules split differently."""

FLAG_OPTIONS = frozenset({"lowercase", "strip_accents", "handle_chinese_chars", "add_prefix_space"})
"""Options in tokenizer.json that a class sets by flags of its own, in every release."""

FLAGGED = ("LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "CohereTokenizer")
"""Classes that add the tokens that tokenizer_config.json names, whatever tokenizer.json says: the
slow ones, and up to transformers 4 the fast ones of the same names."""
FLAGS = ("add_bos_token", "add_eos_token")


def read(folder: Path, size: int | None = None) -> tuple[Any, tuple[str, ...]]:
    """The tokenizer of a checkpoint folder, and lines for the log about what was decided.

    size: how many token ids the model embeds; None: as many as it needs. Raises ModelError where
    the tokenizer cannot be read, splits a text differently from what its file says, or belongs to
    another model.
    """
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # the tokenizers library raises nothing more precise
        raise ModelError(f"{folder}: the tokenizer cannot be read ({_line(error)})") from None
    # Without its vocabulary's file, transformers builds a tokenizer all the same.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ModelError(f"{folder}: the tokenizer has no vocabulary: a file of it is missing")
    notes = [*_obey(folder / "tokenizer.json", tokenizer), *_settle(folder, tokenizer)]
    if size is not None and len(tokenizer) > size:
        notes.append(_check_size(tokenizer, size))
    return tokenizer, tuple(notes)


def embedded(tokenizer: Any) -> int:
    """How many ids a model has to embed for a tokenizer."""
    return max(tokenizer.get_vocab().values()) + 1


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _obey(written: Path, tokenizer: Any) -> list[str]:
    """Have the tokenizer split texts as tokenizer.json says.

    For some types of models transformers 5 builds the rules anew, not always as they are written;
    transformers 4 took them from the file. They are put back. Where the file contradicts the flags
    of tokenizer_config.json, which all releases obey, the tokenizer is refused.
    """
    if not written.is_file():
        return []
    exact = tokenizers.Tokenizer.from_file(str(written))
    exact.no_padding()
    exact.no_truncation()
    release = f"transformers {transformers.__version__}"
    reads = f"{written}: {release} reads it as {type(tokenizer).__name__}"
    differing = _differing(exact, tokenizer.backend_tokenizer) if tokenizer.is_fast else {}
    if flags := sorted(FLAG_OPTIONS.intersection(frozenset().union(*differing.values()))):
        raise ModelError(
            f"{reads} with another {' and '.join(flags)}, by a flag of tokenizer_config.json or "
            "for want of one: make the two files agree"
        )
    for piece in differing:
        setattr(tokenizer.backend_tokenizer, piece, getattr(exact, piece))
    # Special tokens aside: which ones are added is settled below.
    options = {"add_special_tokens": False}
    for text in PROBES:
        actual = tokenizer(text, **options)["input_ids"]
        if actual != (expected := exact.encode(text, **options).ids):
            raise ModelError(
                f"{reads} and splits {text[:40]!r} otherwise than the file says ({len(actual)} "
                f"tokens, not {len(expected)}): use the tokenizer that the model was published "
                "with, or another release of transformers"
            )
    if not differing:
        return []
    return [
        f"{release} builds another {' and '.join(differing)} for {type(tokenizer).__name__} than "
        "tokenizer.json has: the file's is used"
    ]


def _differing(
    exact: tokenizers.Tokenizer, loaded: tokenizers.Tokenizer
) -> dict[str, frozenset[str]]:
    """The pieces that split text and differ between two tokenizers, each with its options that do.

    Post-processor and decoder split nothing.
    """
    differing = {}
    for piece in ("normalizer", "pre_tokenizer", "model"):
        first, second = (_state(getattr(each, piece)) for each in (exact, loaded))
        if first != second:
            differing[piece] = frozenset(_options(json.loads(first), json.loads(second)))
    return differing


def _state(piece: Any) -> bytes:
    return b"null" if piece is None else piece.__getstate__()


def _options(first: Any, second: Any) -> Iterator[str]:
    """Keys with differing values, where two pieces are of the same type."""
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for pair in zip(first, second, strict=True):
            yield from _options(*pair)
    elif isinstance(first, dict) and isinstance(second, dict):
        for key in first.keys() & second.keys() if first.get("type") == second.get("type") else ():
            if first[key] != second[key]:
                yield key
                # The entries of a vocabulary are not options.
                if key not in ("vocab", "merges"):
                    yield from _options(first[key], second[key])


def _settle(folder: Path, tokenizer: Any) -> list[str]:
    """Make the tokenizer begin and end texts as the class that the checkpoint names does.

    tokenizer.json and the flags of tokenizer_config.json may contradict each other. transformers 5
    obeys the file; the classes in FLAGGED obey the flags.
    """
    try:
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    does: dict[str, Any] = dict(zip(FLAGS, around(tokenizer), strict=True))
    says = {flag: config[flag] for flag in FLAGS if isinstance(config.get(flag), bool)}
    wrong = [flag for flag, value in says.items() if value != does[flag]]
    if not wrong:
        return []
    named = str(config.get("tokenizer_class") or type(tokenizer).__name__)
    what = " and ".join(f"{flag}: {str(says[flag]).lower()}" for flag in wrong)
    contradicted = f"tokenizer_config.json says {what}, tokenizer.json does otherwise"
    if named.removesuffix("Fast") not in FLAGGED:
        return [f"{contradicted}: texts follow tokenizer.json, the only one that {named} reads"]
    # Each of the two would take the other's token away.
    for flag, value in {**does, **says}.items():
        setattr(tokenizer, flag, value)
    if dict(zip(FLAGS, around(tokenizer), strict=True)) != {**does, **says}:
        raise ModelError(f"{folder}: {contradicted}, and the tokenizer cannot be set to it")
    return [f"{contradicted}: texts follow tokenizer_config.json, as {named} does"]


def around(tokenizer: Any) -> tuple[bool, bool]:
    """Whether the tokenizer itself puts its begin token before a text, and its end token behind."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    more = len(whole) - len(plain)
    begins = more > 0 and whole[0] == tokenizer.bos_token_id
    ends = more > begins and whole[-1] == tokenizer.eos_token_id
    return begins, ends


def _check_size(tokenizer: Any, size: int) -> str:
    """Refuse the tokenizer of another model; one whose added tokens alone lie outside will do."""
    added = tokenizer.added_tokens_decoder
    outside = {token: id_ for token, id_ in tokenizer.get_vocab().items() if id_ >= size}
    if any(id_ not in added for id_ in outside.values()):
        raise ModelError(f"the tokenizer knows {len(tokenizer)} tokens, the model embeds {size}")
    shown = ", ".join(sorted(outside)[:3]) + (", …" if len(outside) > 3 else "")
    return f"the model does not embed {shown}: a text with such a token will be refused"
