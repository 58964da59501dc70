"""A process that compiles units: reads their names, one a line, and answers each with a line when it is in the cache.

Numba compiles every function for itself: optimises it, makes machine code and two wrappers of it, and then does all of
that again inside each caller. Here only a unit is finished, once, with all it calls linked in, and the answers of type
inference are remembered. That takes half the time. Nothing but the units is cached: a function that Python calls
itself is compiled the usual way. It leans on Numba's inside; where that has changed, `units` compiles the slow way.
"""

from __future__ import annotations

import gc
import sys
from typing import Any

from numba import _dynfunc
from numba.core import codegen, cpu, ir
from numba.core.compiler_machinery import PassManager
from numba.core.registry import cpu_target
from numba.core.types.functions import BaseFunction

from echelon_engine import _jit


def finish_entries_alone() -> None:
    """Make Numba optimise and emit C entry points alone, each with everything that it calls in one module."""
    assert cpu_target.target_context is not None  # Numba's own runtime library is made now, the usual way
    library_class: Any = codegen.JITCodeLibrary
    context_class: Any = cpu.CPUContext
    finish, executable = library_class.finalize, context_class.get_executable

    def is_entry(library: Any) -> bool:
        return any(function.name.startswith("cfunc.") for function in library._final_module.functions)

    def gather(library: Any, found: dict[Any, None]) -> dict[Any, None]:
        for called in library._linking_libraries:
            if called not in found:
                found[called] = None
                gather(called, found)
        return found

    def finalize(self: Any) -> None:
        if is_entry(self):
            self._linking_libraries = list(gather(self, {}))
            finish(self)
        else:
            self._finalized = True

    def get_executable(self: Any, library: Any, fndesc: Any, env: Any) -> Any:
        library._ensure_finalized()
        if is_entry(library):
            return executable(self, library, fndesc, env)
        make: Any = _dynfunc.make_function  # the key under which callers find it; nobody calls it from here
        return make(fndesc.lookup_module(), fndesc.qualname.split(".")[-1], "", 0, env, (library,))

    library_class.finalize = finalize
    context_class.get_executable = get_executable


def remember_types() -> None:
    """Make Numba ask for the result type of a function of given types once; leave out its checks of itself.

    And let it search instructions for variables without looking into text and numbers.
    """
    known: dict[Any, Any] = {}
    function_class: Any = BaseFunction
    ask = function_class.get_call_type

    def get_call_type(self: Any, context: Any, args: Any, kws: Any) -> Any:
        if kws:
            return ask(self, context, args, kws)
        key = (id(self), args)
        if key not in known:
            known[key] = (ask(self, context, args, kws), self)  # kept alive, so that the id stays its own
        return known[key][0]

    function_class.get_call_type = get_call_type

    leaves = {str, int, bool, type(None), ir.Loc}  # nine of ten values that it searches for variables

    def search(value: Any, found: list[Any]) -> None:
        if isinstance(value, ir.Var):
            found.append(value)
        elif isinstance(value, ir.Inst):
            found.extend(value.list_vars())
        elif isinstance(value, list | tuple | dict):
            for item in value.values() if isinstance(value, dict) else value:
                if type(item) not in leaves:
                    search(item, found)

    def list_vars(self: Any) -> list[Any]:
        found: list[Any] = []
        search(self.__dict__, found)
        return found

    statement_class: Any = ir.Stmt
    statement_class.list_vars = list_vars
    expression_class: Any = ir.Expr
    expression_class.list_vars = list_vars
    PassManager._ENFORCING = False


def main() -> None:
    """Compile the units whose names come in."""
    gc.disable()  # nothing is freed before the end, and collecting takes a tenth of the time
    finish_entries_alone()
    remember_types()
    # No kernel allocates: without reference counts there is a good deal less to compile.
    _jit.OPTIONS.update(cache=False, no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)
    from echelon_engine import units  # decorates all kernels, with these options

    for line in sys.stdin:
        units.compile_here(line.strip())
        print(line.strip(), flush=True)


if __name__ == "__main__":
    main()
