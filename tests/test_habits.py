"""What users' own tests and frameworks do to decorated functions."""

import functools
import inspect
import typing
from typing import Any, Dict, Iterator, List
from unittest import mock

import pytest

from async_lru import _LRUCacheWrapper, _LRUCacheWrapperInstanceMethod, alru_cache


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
    """As suites do between tests."""
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
    """To see the calls that get through."""
    with mock.patch.object(Service, "load", wraps=Service.load) as load:
        await Service.load(Service(), 1)
    assert load.await_count == 1


# Inspected


def test_signatures_and_hints() -> None:
    assert str(inspect.signature(Service.load)).startswith("(self, number: ")
    assert list(inspect.signature(Service().load).parameters) == ["number", "fresh"]
    assert inspect.signature(settings).return_annotation == Dict[str, int]
    hints = {"number": int, "fresh": bool, "return": str}
    assert typing.get_type_hints(Service.load) == hints
    assert typing.get_type_hints(Service().load) == hints
    assert inspect.getdoc(Service.load) == inspect.getdoc(Service().load) == "Load one."


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


# Named in annotations


def test_types_at_run_time() -> None:
    from async_lru import _R  # noqa: PLC0415  # where missing, only this test fails

    def clear(function: "_LRUCacheWrapper[_R]") -> "_LRUCacheWrapper[_R]":
        function.cache_clear()
        return function

    class Registry:
        functions: "List[_LRUCacheWrapper[Any]]"

    assert clear(settings) is settings
    hints = typing.get_type_hints(Registry, {"List": List, **globals()})
    assert hints == {"functions": List[_LRUCacheWrapper[Any]]}
    assert typing.Optional[_LRUCacheWrapper[int]] == typing.Union[_LRUCacheWrapper[int], None]
    assert isinstance(settings, _LRUCacheWrapper)
    assert isinstance(Service().load, _LRUCacheWrapperInstanceMethod)
    assert callable(settings)


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
    """Fails at first."""

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
