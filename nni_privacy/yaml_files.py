"""Reading the YAML files of users: safely, and with every fault in one line."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from nni_privacy.errors import PrivacyError

__all__ = ["read_yaml"]

_SIZE_LIMIT = 1 << 20
"""No configuration and no pattern is larger, in bytes."""


def read_yaml(path: str | Path, *, error: type[PrivacyError]) -> Any:
    """The content of a YAML file, as plain data.

    Args:
        path: the file.
        error: what to raise.

    Raises:
        PrivacyError: of type ``error``, if the file cannot be read, is larger than 1 MiB, is not valid YAML, names a
            python object or gives a key twice; the message is one line that names the file.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _SIZE_LIMIT:
            raise error(f"{path}: larger than {_SIZE_LIMIT} bytes")
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except OSError as fault:
        raise error(f"{path}: {fault.strerror or fault}") from None
    except UnicodeDecodeError:
        raise error(f"{path}: not a text file in UTF-8") from None
    except PrivacyError:
        raise
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, AttributeError, LookupError) as fault:
        raise error(f"{path}: not valid YAML: {' '.join(str(fault).split())}") from None


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses a key that is given twice instead of taking the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable) or key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)
