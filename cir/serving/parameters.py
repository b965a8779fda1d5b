"""The parameters of a path: a request that names another one is refused, as an unknown field is."""

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute


def known_alone(request: Request) -> None:
    """Lets a request pass whose query holds none but the parameters of its path."""
    route: APIRoute = request.scope["route"]
    named = [each.alias for each in route.dependant.query_params]
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in named]
    if unknown:
        given = ", ".join(f"`{name}`" for name in unknown)
        expected = ", ".join(named) or "none: this path takes no parameter"
        raise HTTPException(422, f"unknown in the address: {given}; expected {expected}")
