"""Decorated functions are mocked, and used with frameworks, as plain ones are."""

import dataclasses
import functools
import inspect
import typing
from importlib.util import find_spec
from typing import Any, Dict, Iterator, List
from unittest import mock

import pytest

from async_lru import alru_cache

from .helpers import Client, added, run_program


@alru_cache
async def settings() -> Dict[str, int]:
    return {"answer": 42}


class Service:
    def __init__(self) -> None:
        self.loads: List[int] = []

    @alru_cache(maxsize=10)
    async def load(self, number: int, *, fresh: bool = False) -> str:
        """Load one."""
        self.loads.append(number)
        return f"loaded {number}"

    @alru_cache
    async def answer(self) -> Dict[str, int]:
        return {"answer": 42}


@pytest.fixture(autouse=True)
def cleared() -> Iterator[None]:
    """Clear the caches between tests, as users' suites do."""
    yield
    for function in settings, Service.load, Service.answer:
        function.cache_clear()


# Patched


async def test_patched_on_the_class() -> None:
    original = Service.__dict__["load"]
    with mock.patch.object(Service, "load") as load:
        assert isinstance(load, mock.AsyncMock)
        load.return_value = "patched"
        assert await Service().load(1) == "patched"
        load.assert_awaited_once_with(1)
    assert Service.__dict__["load"] is original
    assert await Service().load(1) == "loaded 1"


async def test_patched_on_an_instance() -> None:
    service = Service()
    with mock.patch.object(service, "load", return_value="patched") as load:
        assert isinstance(load, mock.AsyncMock)
        assert await service.load(1) == "patched"
        assert await Service().load(1) == "loaded 1"
    assert "load" not in vars(service)
    assert await service.load(1) == "loaded 1"
    assert service.loads == [1]


async def test_patched_in_its_module() -> None:
    with mock.patch(f"{__name__}.settings", return_value={"answer": 0}):
        assert await settings() == {"answer": 0}
    assert await settings() == {"answer": 42}


async def test_patched_by_its_specification() -> None:
    with mock.patch.object(Service, "load", autospec=True) as load:
        load.return_value = "patched"
        service = Service()
        assert await service.load(1) == "patched"
        load.assert_awaited_once()
    function = mock.create_autospec(settings, return_value={"answer": 1})
    assert await function() == {"answer": 1}
    function.assert_awaited_once_with()


@pytest.mark.parametrize("make", [mock.AsyncMock, mock.MagicMock])
async def test_specification_of_a_mock(make: Any) -> None:
    service: Any = make(spec=Service)
    assert isinstance(service.load, mock.AsyncMock)
    service.load.return_value = "mocked"
    assert await service.load(1) == "mocked"
    with pytest.raises(AttributeError):
        await service.unload()
    assert isinstance(service, Service)
    function = mock.AsyncMock(spec=settings)
    function.return_value = {}
    assert await function() == {}
    assert function.cache_clear is not None


async def test_what_it_wraps_is_patched() -> None:
    """The mock counts the calls that get through."""
    with mock.patch.object(Service, "load", wraps=Service.load) as load:
        await Service.load(Service(), 1)
    assert load.await_count == 1


def test_source() -> None:
    assert inspect.unwrap(settings) is settings.__wrapped__
    assert "async def settings" in inspect.getsource(settings)
    assert inspect.getsourcefile(inspect.unwrap(Service.load)) == __file__


async def test_around_it() -> None:
    calls = []

    @functools.wraps(settings)
    async def counted() -> Any:
        calls.append(1)
        return await settings()

    assert [await counted(), await counted()] == [{"answer": 42}] * 2
    assert counted.__wrapped__ is settings
    assert counted.__name__ == "settings"
    assert inspect.unwrap(counted) is settings.__wrapped__
    assert typing.get_type_hints(counted) == {"return": Dict[str, int]}
    assert len(calls) == 2
    assert settings.cache_info().misses == 1


async def test_without_the_cache() -> None:
    service = Service()
    bound: Any = service.load
    for _ in range(2):
        await Service.load.__wrapped__(service, 1)
        await bound.__wrapped__(2)
    assert service.loads == [1, 2, 1, 2]
    assert Service.load.cache_info() == (0, 0, 10, 0)


# Inherited


class Plain(Service):
    async def load(  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        self, number: int, *, fresh: bool = False
    ) -> str:
        return "plain " + await super().load(number)


class Cached(Service):
    @alru_cache
    async def load(self, number: int, *, fresh: bool = False) -> str:
        return "cached " + await super().load(number)


class Heir(Service): ...


async def test_subclasses_override() -> None:
    plain, cached, heir = Plain(), Cached(), Heir()
    for _ in range(2):
        assert await plain.load(1) == "plain loaded 1"
        assert await cached.load(1) == "cached loaded 1"
        assert await heir.load(1) == "loaded 1"
    assert plain.loads == cached.loads == heir.loads == [1]
    assert Cached.load.cache_info() == (1, 1, 128, 1)
    assert Heir.load is Service.load
    assert Service.load.cache_info() == (2, 3, 10, 3)
    Cached.load.cache_clear()
    assert Service.load.cache_info().currsize == 3


# Frameworks


@pytest.mark.parametrize("name", ["function", "method", "class's"])
@pytest.mark.parametrize("how", ["dependency", "route"])
def test_fastapi(name: str, how: str) -> None:
    fastapi: Any = pytest.importorskip("fastapi")
    testclient: Any = pytest.importorskip("fastapi.testclient")
    service = Service()
    function: Any = {
        "function": settings,
        "method": service.answer,
        "class's": functools.partial(Service.answer, service),
    }[name]
    app = fastapi.FastAPI()
    depends = fastapi.Depends(function)

    async def route(found: Any = depends) -> Any:
        return found

    app.get("/")(function if how == "route" else route)
    with testclient.TestClient(app) as client:
        for _ in range(2):
            response = client.get("/")
            assert (response.status_code, response.json()) == (200, {"answer": 42})
    assert settings.cache_info().misses + Service.answer.cache_info().misses == 1


class Flaky:
    """Fails twice, and then returns."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls < 3:
            raise ConnectionError
        return "in the end"


@pytest.mark.parametrize("order", ["over", "under"])
async def test_tenacity(order: str) -> None:
    tenacity: Any = pytest.importorskip("tenacity")
    retry = tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_none())
    flaky = Flaky()

    async def work(x: int) -> str:
        return await flaky()

    cached: Any
    if order == "over":
        cached = alru_cache(work)
        function: Any = retry(cached)
    else:
        function = cached = alru_cache(retry(work))
    assert [await function(1), await function(1)] == ["in the end"] * 2
    assert flaky.calls == 3
    assert cached.cache_info() == (1, 3 if order == "over" else 1, 128, 1)
    assert function.retry.stop is not None  # tenacity's own attributes
    assert function.__name__ == "work"


@pytest.mark.parametrize("order", ["over", "under"])
async def test_tenacity_of_a_method(order: str) -> None:
    tenacity: Any = pytest.importorskip("tenacity")
    retry = tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_none())
    inner, outer = (alru_cache, retry) if order == "over" else (retry, alru_cache)

    class Client:
        def __init__(self) -> None:
            self.flaky = Flaky()

        @outer  # type: ignore[untyped-decorator]
        @inner  # type: ignore[untyped-decorator]
        async def get(self, x: int) -> str:
            return await self.flaky()

    client: Any = Client()
    assert [await client.get(1), await client.get(1)] == ["in the end"] * 2
    assert client.flaky.calls == 3


# Dataclasses, attrs, pydantic


@pytest.mark.parametrize("options", [{}, {"frozen": True}, {"eq": True, "order": True}])
async def test_dataclasses(options: Any) -> None:
    @dataclasses.dataclass(**options)
    class Point:
        x: int

        @alru_cache(per_instance=True)
        async def get(self) -> int:
            return self.x

    first, second = Point(1), Point(1)
    assert await first.get() == 1
    assert first == second
    assert repr(first) == repr(second)
    assert dataclasses.asdict(first) == {"x": 1}
    assert dataclasses.astuple(first) == (1,)
    replaced = dataclasses.replace(first, x=2)
    assert not added(replaced)
    assert await replaced.get() == 2
    assert await first.get() == 1
    assert first.get.cache_info() == (1, 1, 128, 1)


async def test_attrs() -> None:
    attr: Any = pytest.importorskip("attr")

    async def fetch(self: Any) -> int:
        return int(self.x)

    get = alru_cache(per_instance=True)(fetch)
    for options in {"slots": False}, {"slots": False, "frozen": True}:
        made: Any = attr.attrs(**options)(type("Point", (), {"x": attr.ib(), "get": get}))
        first, second = made(1), made(1)
        assert await first.get() == 1
        assert first == second
        assert repr(first) == repr(second)
        assert attr.asdict(first) == {"x": 1}
        evolved = attr.evolve(first, x=2)
        assert await evolved.get() == 2
        assert await first.get() == 1


async def test_pydantic() -> None:
    pydantic: Any = pytest.importorskip("pydantic")

    async def fetch(self: Any) -> int:
        return int(self.x)

    for frozen in False, True:
        made: Any = type(
            "Model",
            (pydantic.BaseModel,),
            {
                "__annotations__": {"x": int},
                "__module__": __name__,
                "model_config": {
                    "frozen": frozen,
                    "ignored_types": (type(Client.get),),
                },
                "get": alru_cache(per_instance=True)(fetch),
            },
        )
        first, second = made(x=1), made(x=1)
        assert await first.get() == 1
        assert first == second
        assert repr(first) == repr(second)
        assert first.model_dump() == {"x": 1}
        copied = first.model_copy(update={"x": 2})
        assert await copied.get() == 2
        assert await first.get() == 1
        assert first.get.cache_info() == (1, 1, 128, 1)


@pytest.mark.skipif(find_spec("trio_asyncio") is None, reason="it is not installed")
@pytest.mark.parametrize("first", ["async_lru", "trio_asyncio"])
def test_trio_asyncio_imported_before_or_after(first: str) -> None:
    """It replaces functions of asyncio, such as get_running_loop()."""
    done = run_program(
        f"import {first}\n",
        """
        import asyncio, trio, trio_asyncio
        from async_lru import alru_cache

        @alru_cache(ttl=60)
        async def double(x):
            await asyncio.sleep(0)
            return 2 * x

        class Client:
            @alru_cache(per_instance=True)
            async def get(self, x):
                return await double(x)

        async def main():
            print(await asyncio.gather(double(1), double(1), Client().get(2), Client().get(2)))
            print(await double(1), tuple(double.cache_info()))
            await double.cache_close()
            print(double.cache_parameters()["closed"])

        async def in_trio():
            async with trio_asyncio.open_loop():
                await trio_asyncio.aio_as_trio(main)()

        trio.run(in_trio)
        """,
        dev=False,
    )
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        ["[2, 2, 4, 4]", "2 (3, 2, 128, 2)", "True"],
    ), done.stderr
