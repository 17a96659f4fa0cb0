"""From an HTTP request to a task and the bytes of its picture. The picture is in the request, never at a path."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from typing import Any, TypeVar

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from rnr.serve.errors import ServiceError
from rnr.serve.work import Task

FIELDS = 64  # of a form at most; there are fewer than ten
LISTS = {"only", "strength"}
T = TypeVar("T", bound=Task)


async def taken(request: Request, kind: type[T], most_bytes: float) -> tuple[T, bytes]:
    """(task, picture) of a form or a JSON body. Raises ServiceError."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == "application/json":
        fields, data = await asyncio.to_thread(_from_json, await request.body())
    elif media == "multipart/form-data":
        fields, data = await _from_form(request)
    else:
        raise ServiceError(415, "media_type", "send multipart/form-data or application/json")
    if len(data) > most_bytes:
        raise ServiceError(
            413, "picture_too_large", f"the picture has more than {most_bytes / 1e6:g} MB; make it smaller"
        )
    try:
        return kind.model_validate(fields), data
    except ValidationError as error:
        raise refused("; ".join(map(_words, error.errors()))) from None


def _words(error: Any) -> str:
    """One of pydantic's errors: field and problem."""
    return f"{'.'.join(map(str, error['loc'])) or 'the request'}: {error['msg'].removeprefix('Value error, ')}"


def _from_json(body: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise ServiceError(400, "not_json", "the body is not JSON") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("picture"), str):
        raise refused('a JSON object with "picture": the base64 of its bytes')
    try:
        return fields, base64.b64decode(fields.pop("picture"), validate=True)
    except (binascii.Error, ValueError):
        raise refused("picture: not base64; the service opens no paths and no addresses, send the bytes") from None


async def _from_form(request: Request) -> tuple[dict[str, Any], bytes]:
    async with request.form(max_files=1, max_fields=FIELDS) as form:
        file = form.get("picture")
        if not isinstance(file, UploadFile):
            raise refused("a form needs its field `picture` to be a file; the service opens no paths and no addresses")
        return _fields(form, file.filename or "picture"), await file.read()


def _fields(form: FormData, name: str) -> dict[str, Any]:
    """The other fields; an empty one is one that was left out, which is what browsers send."""
    fields: dict[str, Any] = {"name": name[-255:]}
    for key in {*form} - {"picture"}:
        values = [value for value in form.getlist(key) if value != ""]
        if values:
            fields[key] = values if key in LISTS else values[-1]
    return fields


def refused(message: str) -> ServiceError:
    return ServiceError(422, "request_refused", message)


def body_schema(kind: type[Task]) -> dict[str, Any]:
    """The two bodies of an endpoint for its OpenAPI document."""
    schema = kind.model_json_schema()
    fields = {key: value for key, value in schema["properties"].items() if key != "action"}
    file = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
    text = {"type": "string", "contentEncoding": "base64", "description": "the bytes of the picture"}
    form = {key: value for key, value in fields.items() if key != "name"}  # a file has one of its own
    if "diagnosis" in form:  # as an object, the documentation page would fill in one of its own making
        words = "restore by this Diagnosis, JSON text (`rnr schema`)"
        form["diagnosis"] = {"type": "string", "description": words, "default": "", "examples": [""]}
    if "strength" in form:
        words = form["strength"]["description"]
        # as an array, the documentation page would fill in a word; several fields of this name may be sent all the same
        form["strength"] = {"type": "string", "description": words, "default": "100", "examples": ["100"]}

    def body(picture: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
        return {"schema": {"type": "object", "required": ["picture"], "properties": {"picture": picture, **rest}}}

    content = {"multipart/form-data": body(file, form), "application/json": body(text, fields)}
    return {"requestBody": {"required": True, "content": content}}
