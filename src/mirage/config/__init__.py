"""YAML text into typed models: what a run shall be, before anything is opened or loaded.

`load` goes the whole way, through `document` (YAML, positions), `environment` (`${NAME}`),
`mistakes` (pydantic's findings in our words) and `models`; `engines` says which backend is meant
and what this version does not serve, `schema` turns an `output_schema` into a JSON Schema; `editor`
makes that of a configuration.
"""

from mirage.config.engines import IN_FLIGHT, SERVED, backend_of, engine_flag, unserved
from mirage.config.load import Loaded, load_config, parse_config
from mirage.config.models import Config
from mirage.config.schema import SchemaMistake, answer_schema, keys, many

__all__ = [
    "IN_FLIGHT",
    "SERVED",
    "Config",
    "Loaded",
    "SchemaMistake",
    "answer_schema",
    "backend_of",
    "engine_flag",
    "keys",
    "load_config",
    "many",
    "parse_config",
    "unserved",
]
