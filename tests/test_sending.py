"""Contract 2: decorated functions that are pickled by value, and by reference."""

import abc
import asyncio
import copy
import functools
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

from async_lru import alru_cache

from .helpers import NOTHING_IS_SLOW, run_program

SCRIPT = """
import asyncio
from async_lru import alru_cache

@alru_cache(maxsize=10, ttl=60, key=lambda x: x)
async def double(x):
    return 2 * x

@alru_cache
async def factorial(n):
    return n * await factorial(n - 1) if n else 1

def job(x):
    return asyncio.run(double(x))

class Client:
    @alru_cache
    async def shared(self, x):
        return x

    @classmethod
    @alru_cache
    async def of_class(cls, x):
        return cls.__name__, x

    @alru_cache(per_instance=True)
    async def own(self, x):
        return x
"""

# The end of a script that has the functions above called in other processes. Its loop stays
# open, because a forked process that finds results of a closed loop issues a warning.
JOBS = """
def run(function):
    before = function.cache_info().hits
    async def twice():
        return [await function(3), await function(3)]
    return (*asyncio.run(twice()), function.cache_info().hits - before)

if __name__ == "__main__":
    import sys
    kind, used = sys.argv[1], sys.argv[2] == "True"
    loop, client = asyncio.new_event_loop(), Client()
    functions = [double, factorial, client.shared, client.own, Client.of_class]
    if used:
        for function in functions:
            loop.run_until_complete(function(1))
    if kind == "joblib":
        from joblib import Parallel, delayed
        from joblib.externals.loky import get_reusable_executor
        done = Parallel(n_jobs=2, backend="loky")(map(delayed(run), functions))
        get_reusable_executor().shutdown(wait=True)
    else:
        import multiprocessing
        pool = multiprocessing.get_context(kind).Pool(1)
        done = pool.map(run, functions)
        pool.close()
        pool.join()
    loop.close()
    print(*done, sep="\\n")
"""


class Client:
    def __init__(self, name: str) -> None:
        self.name = name
        self.kept: Any = alru_cache(maxsize=8)(self.get)
        self.get_one: Any = alru_cache(functools.partial(self.get, 1), ttl=5)
        self.get: Any = alru_cache(self.get, key=tuple_of)  # type: ignore[method-assign]

    async def get(self, x: int) -> Any:  # pyright: ignore[reportRedeclaration]
        return self.name, x


def tuple_of(*args: Any) -> Any:
    return args


async def tuple_of_one(x: int) -> Any:
    return (x,)


@pytest.fixture
def cloudpickle() -> Any:
    return pytest.importorskip("cloudpickle")


@pytest.fixture(params=["cloudpickle", "dill"])
def pickler(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> Dict[str, Any]:
    """What a script defines in ``__main__``."""
    namespace: Dict[str, Any] = {"__name__": "__main__"}
    exec(SCRIPT, namespace)
    for name in "double", "factorial", "job", "Client":
        monkeypatch.setattr(sys.modules["__main__"], name, namespace[name], raising=False)
    return namespace


def closure(**options: Any) -> Any:
    one = 1

    @alru_cache(**options)
    async def inner(x: int) -> int:
        """Add one."""
        return x + one

    return inner


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"maxsize": 3, "typed": True},
        {"ttl": 50, "jitter": 0, "key": lambda x: x},
        {"ttl": lambda _: 50, "refresh": 5},
    ],
)
async def test_a_closure(pickler: Any, options: Any, used: bool) -> None:
    function = closure(**options)
    function.version = 7
    if used:
        await function(1)
    arrived = pickler.loads(pickler.dumps(function))
    assert arrived is not function
    assert arrived.cache_info() == (0, 0, options.get("maxsize", 128), 0)
    assert arrived.cache_parameters() == function.cache_parameters()
    assert [await arrived(1), await arrived(1)] == [2, 2]
    assert arrived.cache_info()[:2] == (1, 1)
    assert (arrived.__name__, arrived.__doc__, arrived.version) == ("inner", "Add one.", 7)
    assert arrived.__qualname__ == function.__qualname__
    assert await arrived.__wrapped__(2) == 3
    for either in function, arrived:
        await either.cache_close()


async def test_an_instance_of_an_abstract_class_without_a_name(cloudpickle: Any) -> None:
    class Api(abc.ABC):  # noqa: B024
        @alru_cache
        async def get(self, x: int) -> int:
            return x

    arrived = cloudpickle.loads(cloudpickle.dumps(Api()))
    assert await arrived.get(1) == 1
    await arrived.get.cache_close()


async def test_a_closure_has_no_name_to_pickle() -> None:
    with pytest.raises((AttributeError, pickle.PicklingError), match="closure"):
        pickle.dumps(closure())


@pytest.mark.parametrize("used", [False, True])
def test_what_a_script_defines(cloudpickle: Any, main: Dict[str, Any], used: bool) -> None:
    double, client = main["double"], main["Client"]()
    if used:
        asyncio.run(double(1))
        asyncio.run(client.shared(1))
        asyncio.run(client.own(1))

    def send(value: Any) -> Any:
        return cloudpickle.loads(cloudpickle.dumps(value))

    arrived = send(double)
    assert arrived is not double
    assert asyncio.run(arrived(21)) == 42
    assert arrived.cache_info() == (0, 1, 10, 1)
    assert double.cache_info().currsize == used
    assert repr(arrived).startswith("<_LRUCacheWrapper double, ")
    again = send(arrived)
    assert asyncio.run(again(3)) == 6
    assert send(main["job"])(21) == 42
    other = send(client)
    assert asyncio.run(other.shared(1)) == asyncio.run(other.own(1)) == 1
    assert asyncio.run(send(client.own)(2)) == 2
    assert asyncio.run(send(main["Client"]).of_class(3)) == ("Client", 3)


def test_a_recursive_function(pickler: Any, main: Dict[str, Any]) -> None:
    arrived = pickler.loads(pickler.dumps(main["factorial"]))
    assert asyncio.run(arrived(5)) == 120
    assert arrived.cache_info().currsize == 6
    assert main["factorial"].cache_info().currsize == 0


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_stays_by_reference(main: Dict[str, Any], protocol: int) -> None:
    """With a ``key`` that could not be sent."""
    assert pickle.loads(pickle.dumps(main["double"], protocol)) is main["double"]
    both = pickle.loads(pickle.dumps([main["Client"].own, main["factorial"]], protocol))
    assert both[0] is main["Client"].own
    assert both[1] is main["factorial"]


def test_to_another_process(pickler: Any, main: Dict[str, Any]) -> None:
    sent: List[Any] = [main["double"], main["factorial"], main["Client"](), closure()]
    done = run_program(
        f"""
        import asyncio, pickle
        double, factorial, client, inner = pickle.loads({pickler.dumps(sent)!r})
        async def use():
            print(await double(2), await factorial(3), await client.own(4), await inner(5))
        asyncio.run(use())
        print(double.cache_info(), inner.cache_info())
        """
    )
    double, inner = alru_cache(10)(tuple_of_one), closure()
    asyncio.run(double(1))
    asyncio.run(inner(1))
    assert (done.stdout.splitlines(), done.stderr) == (
        [
            "4 6 4 6",
            f"{double.cache_info()} {inner.cache_info()}",
        ],
        "",
    )


@pytest.mark.parametrize("how", ["pickle", "deepcopy", "cloudpickle", "dill"])
@pytest.mark.parametrize("used", [False, True])
async def test_an_instance_that_keeps_a_bound_method(how: str, used: bool) -> None:
    by: Any = None if how == "deepcopy" else pytest.importorskip(how)
    client = Client("a")
    if used:
        await client.kept(1)
        await client.get(1)
        await client.get_one()
    other: Any = copy.deepcopy(client)
    if by is not None:
        other = by.loads(by.dumps(client))
    other.name = "b"
    assert other.kept is not client.kept
    assert other.kept.cache_info() == (0, 0, 8, 0)
    assert await other.kept(1) == await other.get(1) == await other.get_one() == ("b", 1)
    assert await client.kept(1) == await client.get(1) == await client.get_one() == ("a", 1)
    for either in client, other:
        await either.get_one.cache_close()


async def test_the_kept_method_itself() -> None:
    """Its instance refers to it."""
    client = Client("a")
    copies: List[Any] = [copy.deepcopy(client.get), pickle.loads(pickle.dumps(client.get))]
    for get in copies:
        assert get is not client.get
        assert get.__wrapped__.__self__.get is get
        assert await get(1) == ("a", 1)


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("kind", ["joblib", *multiprocessing.get_all_start_methods()])
def test_a_script_with_processes(kind: str, used: bool, tmp_path: Path) -> None:
    if kind == "joblib":
        pytest.importorskip("joblib")
    script = tmp_path / "script.py"
    script.write_text(NOTHING_IS_SLOW + SCRIPT + JOBS)
    # In a spawned process, 3.15 finds fault with the module of the script.
    fault = "Module globals is missing a __spec__.loader"
    options = ["-X", "dev", "-W", "always", "-W", f"ignore:{fault}:DeprecationWarning"]
    done = subprocess.run(
        [sys.executable, *options, str(script), kind, str(used)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.stdout.splitlines(), done.stderr) == (
        [
            "(6, 6, 1)",
            "(6, 6, 1)",
            "(3, 3, 1)",
            "(3, 3, 1)",
            "(('Client', 3), ('Client', 3), 1)",
        ],
        "",
    )
