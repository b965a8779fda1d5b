"""Every command claims its outputs before it begins, in one way."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from cir.config import Config
from cir.disk.outputs import Output, claimed
from cir.machine.processes import Processes

Settings = TypeVar("Settings", bound=Config)
Others = ParamSpec("Others")
Result = TypeVar("Result")


def claims_outputs(
    run: Callable[Concatenate[Settings, Others], Result],
) -> Callable[Concatenate[Settings, Others], Result]:
    """Makes a stage hold what its configuration says that it writes (`cir.disk.outputs`).

    Of several processes the main one does, for all of them.
    """

    @wraps(run)
    def claiming(config: Settings, /, *args: Others.args, **named: Others.kwargs) -> Result:
        every = (*args, *named.values())
        main = not any(isinstance(each, Processes) and not each.main for each in every)
        if not (main and isinstance(config, Config)):
            return run(config, *args, **named)
        with claimed(_outputs(config), config.read()):
            return run(config, *args, **named)

    return claiming


def _outputs(config: Config) -> list[Output]:
    overwrite = getattr(config, "overwrite", False)
    return [
        Output(field, path, made, overwrite, config.goes_on)
        for field, (path, made) in config.written().items()
    ]
