"""tesseral: which irreps earn their cost? Fair studies of E(3)-equivariant networks on Ray.

    import tesseral

    tesseral.make_reference("study/examples/water.toml", storage="runs")  # densities, computed with PySCF
    print([arm.label for arm in tesseral.plan("study/examples/quickstart.toml").arms])  # nothing is trained yet
    tesseral.run("study/examples/quickstart.toml", storage="runs")  # the same call again resumes it
    tables = tesseral.open_study("runs", "quickstart")  # trials, curves and traces, for Polars
    page = tesseral.report(tables)  # the findings, as HTML

Each name is imported when it is first used, so `import tesseral` alone costs no torch, Ray or Polars. The packages
`tesseral.study`, `models`, `analysis` and `cluster` list their own public names; what is not listed may change.
"""

import lazy_loader

_import, _names, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version  # here, because it searches the installed packages

        return version("tesseral")
    return _import(name)


def __dir__() -> list[str]:
    return [*_names(), "__version__"]
