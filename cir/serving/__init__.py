"""The HTTP server: a typed JSON API over search indexes, and the page that uses it.

Begin with `create_app` (`app`). The only room that knows FastAPI.

    app         the application that uvicorn runs
    state       what the routes share
    limits      how much a request may ask for
    texts       what a text may hold
    schemas     what requests and answers hold
    answers     what the engine found, in that form
    engine      indexes, pictures and queries, as the routes ask for them
    judging     queries of the dataset, ranked as `cir evaluate` ranks them
    batching    a bounded queue before the one thread that encodes and searches
    uploads     photos that came with a request, decoded in memory
    pictures    photos of the gallery as small JPEGs
    security    headers, the size of bodies, the token
    parameters  what an address may hold
    routes      the paths under /api
    document    the page that lists them

The page lies in `static/`, made of files alone.
"""
