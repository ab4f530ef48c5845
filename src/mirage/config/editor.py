"""The JSON Schema of a configuration, for editors: `mirage schema`.

What a key means is the text below it in the model, which is read only here: every other command
would pay for it with its start.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from mirage.config import data, fetch, models


def json_schema() -> dict[str, Any]:
    schema = models.Config.model_json_schema(mode="validation")
    for name, described in {**schema["$defs"], "Config": schema}.items():
        model = next(getattr(home, name) for home in (models, data, fetch) if hasattr(home, name))
        for key, text in descriptions(model).items():
            described["properties"][key]["description"] = text
    sampling = schema["$defs"]["Sampling"]["properties"]
    sampling["max_new_tokens"] = {**sampling["max_tokens"], "title": "Max New Tokens"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """The texts below the fields of a model, by field."""
    (defined,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(defined, ast.ClassDef)
    found = {}
    for field, text in pairwise(defined.body):
        match field, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(said))),
            ):
                found[name] = inspect.cleandoc(said)
    return found
