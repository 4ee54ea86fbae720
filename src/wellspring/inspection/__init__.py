"""What a result file holds, in a few small tables: for a person who looks, never for a step."""

from wellspring.inspection.sections import Section

__all__ = ["Section"]
