"""The page that lists the API: drawn from its OpenAPI description, without a script."""

from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def api_page(description: Mapping[str, Any]) -> str:
    """The HTML page of an OpenAPI description.

    Args:
        description: As `FastAPI.openapi` gives it.
    """
    return _TEMPLATES.get_template("api.html").render(
        info=description["info"],
        routes=list(_routes(description)),
        schemas=description.get("components", {}).get("schemas", {}),
        kind=_kind,
    )


def _routes(description: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for path, methods in description["paths"].items():
        for method, route in methods.items():
            body = route.get("requestBody", {}).get("content", {})
            yield {
                "method": method.upper(),
                "path": path,
                "about": route.get("description", ""),
                "parameters": route.get("parameters", []),
                "body": [_kind(content.get("schema", {})) for content in body.values()],
                "answers": [
                    (code, answer.get("description", ""), _answered(answer))
                    for code, answer in route["responses"].items()
                ],
            }


def _answered(answer: Mapping[str, Any]) -> str:
    content = answer.get("content", {})
    return ", ".join(_kind(each.get("schema", {})) or kind for kind, each in content.items())


def _kind(schema: Mapping[str, Any]) -> str:
    """What a schema is, in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("const", schema.get("type", "")))


_TEMPLATES = Environment(
    loader=PackageLoader("cir.serving"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
