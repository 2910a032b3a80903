"""What goes over the wire: values with their content types, within the limits of docs/limits.md.

Bodies that are too large are refused here and not by the extension, which would hang up while they are still being sent.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Mapping, NamedTuple, Optional

from aft._errors import Error

VALUE_BYTES = 196_608
RESPONSE_BYTES = 196_608
BATCH_BODY_BYTES = 8_388_608
BATCH_KEYS = 100
CONTENT_TYPE_BYTES = 256

JSON = "application/json"
BYTES = "application/octet-stream"


class Value(NamedTuple):
    body: bytes
    content_type: str


def encode(value: Any, content_type: Optional[str] = None) -> Value:
    """Bytes as they are, text too if it has a content type, everything else as JSON."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        encoded = Value(bytes(value), _checked(BYTES if content_type is None else content_type))
    elif content_type is None:
        encoded = Value(document(value), JSON)
    elif isinstance(value, str):
        encoded = Value(value.encode(), _checked(content_type))
    else:
        raise TypeError(f"a value with a content type is bytes or str; this one is {type(value).__name__}")
    if len(encoded.body) > VALUE_BYTES:
        raise Error("value-too-large", f"the value has {len(encoded.body)} bytes; at most {VALUE_BYTES} are allowed", 413)
    return encoded


def decode(body: bytes, content_type: Optional[str]) -> Any:
    """What encode was given, as JSON or bytes hold it."""
    essence = (content_type or BYTES).split(";", 1)[0].strip().lower()
    return json.loads(body) if essence == JSON else body


def document(value: Any, sort_keys: bool = False) -> bytes:
    """JSON; ValueError or TypeError if it would not be."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys).encode()


def text_or_base64(name: str, body: bytes) -> dict[str, str]:
    """A member of a JSON document: text as it is, other bytes in base64."""
    try:
        return {name: body.decode()}
    except UnicodeDecodeError:
        return {name + "Base64": base64.b64encode(body).decode()}


def bytes_of(name: str, found: Mapping[str, Any]) -> bytes:
    """The reverse."""
    text = found.get(name)
    return base64.b64decode(found[name + "Base64"]) if text is None else text.encode()


def _checked(content_type: str) -> str:
    visible = all(" " <= character <= "~" for character in content_type)
    if not visible or content_type.strip() != content_type or not 0 < len(content_type) <= CONTENT_TYPE_BYTES:
        raise ValueError(f"a content type is 1 to {CONTENT_TYPE_BYTES} visible ASCII characters; this one is {content_type!r}")
    return content_type
