"""What all slices of the configuration are: strict, frozen, canonical when written."""

from __future__ import annotations

import hashlib
import json

from pydantic import BaseModel, ConfigDict, ValidationError

from wellspring.errors import ConfigError


class Spec(BaseModel):
    """Base of all slices: strict, frozen, and canonical when written."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    def canonical(self) -> str:
        """Sorted, compact JSON: equal slices give equal bytes."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that stand for the slice where it would be too long."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:16]

    @classmethod
    def read(cls, text: str):
        """The slice that `canonical` wrote; ConfigError where the text is none."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"--spec: {where}: {first['msg']}") from None
