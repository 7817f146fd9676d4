"""Which server goes on which GPU. Pure: devices and needs in, a plan out, or a refusal with the numbers.

    1  a server that fits on one GPU gets one; else two, four or eight, if they divide its attention heads
    2  no two servers share a GPU while another GPU is free
    3  where they must share, the largest hole is left, so that one more server is most likely to fit

Largest first, and every choice is tried as long as that is cheap (a dozen servers on eight GPUs); beyond that the best
of the first twenty thousand steps is taken. The order of the input does not matter. Where not all servers are awake at
once, a device has to hold the largest `max_resident` of its servers, not all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from experts.errors import ConfigError

USUAL_SHARE = 0.9
"""The share of a GPU that vLLM takes when nobody says: for models of unknown size, and the most a server grows to."""
MOST_STEPS = 20_000
PARALLEL = (1, 2, 4, 8)
_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU, or the RAM of a machine without one; memory in GiB, `free_gib` before any server of ours is there."""

    index: int
    total_gib: float
    free_gib: float
    name: str = "GPU"

    @property
    def label(self) -> str:
        """What it is called in a sentence: the GPU by its number, or the RAM."""
        return f"{self.name} {self.index}" if self.name == "GPU" else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one server takes, in GiB over all its GPUs; `overhead_gib` is taken on each.

    Args:
        weights_gib: None: not known, so the server gets GPUs of its own.
        heads: attention heads, which the number of GPUs has to divide; 0: not known, nothing is shared out.
        kv_heads: heads the cache is kept for; 0: as many as `heads`.
        gpus: how many GPUs, when the operator says; None: as few as do.
        fixed_gib: memory on each GPU, when the operator says.
    """

    server: str
    weights_gib: float | None = None
    kv_gib: float = 0.0
    overhead_gib: float = 0.0
    heads: int = 0
    kv_heads: int = 0
    gpus: int | None = None
    fixed_gib: float | None = None

    def each_gib(self, gpus: int) -> float | None:
        """Return what is taken on each of so many GPUs; None: not known."""
        if self.fixed_gib is not None:
            return self.fixed_gib
        if self.weights_gib is None:
            return None
        caches = min(gpus, self.kv_heads or gpus)
        return self.weights_gib / gpus + self.kv_gib / caches + self.overhead_gib

    def choices(self, devices: int) -> tuple[int, ...]:
        """Return the numbers of GPUs it can run on, the fewest first."""
        if self.gpus is not None:
            return (self.gpus,) if self.gpus <= devices else ()
        fitting = [n for n in PARALLEL if n <= devices and (n == 1 or (self.heads and self.heads % n == 0))]
        return tuple(fitting) if self.fixed_gib is None else (1,)


@dataclass(frozen=True, slots=True)
class Seat:
    """Where one server runs: device indexes, and the fraction of each that it takes."""

    devices: tuple[int, ...]
    fraction: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Every server's seat, and what is left on each device in GiB when as many are awake as may be."""

    seats: Mapping[str, Seat]
    left_gib: Mapping[int, float]


@dataclass(slots=True)
class _Search:
    """The state of the search: who sits where so far, and the best whole plan yet."""

    devices: tuple[Device, ...]
    needs: tuple[Need, ...]
    together: int
    kept: Mapping[str, Seat]
    taken: dict[int, list[float]] = field(default_factory=dict)
    seats: dict[str, Seat] = field(default_factory=dict)
    best: dict[str, Seat] | None = None
    best_score: tuple[float, ...] = ()
    steps: int = 0


def place(
    needs: Sequence[Need],
    devices: Sequence[Device],
    *,
    max_resident: int | None = None,
    kept: Mapping[str, Seat] | None = None,
) -> Plan:
    """Return a seat for every server.

    Args:
        max_resident: how many servers are awake at once at most; None: all.
        kept: servers that run already and stay where they are; they are in the plan, too.

    Raises:
        ConfigError: they do not fit; the message has what is asked and what each device has left.
    """
    kept = kept or {}
    ordered = tuple(sorted((n for n in needs if n.server not in kept), key=_largest_first))
    chosen = tuple(sorted(devices, key=lambda device: device.index))
    together = max_resident if max_resident is not None else len(ordered) + len(kept)
    search = _Search(chosen, ordered, max(1, together), kept, {device.index: [] for device in chosen})
    for _, seat in sorted(kept.items()):
        _sit(search, seat)
    _try_next(search, 0)
    if search.best is None:
        raise ConfigError(_refusal(search))
    seats = {**kept, **search.best}
    return Plan(seats, {device.index: _left(device, _loads(seats, device), search.together) for device in chosen})


def grown(plan: Plan, devices: Sequence[Device], growing: frozenset[str], together: int | None = None) -> Plan:
    """Return the plan with what is left given to the servers in `growing`, in equal parts, up to the usual share.

    vLLM fills whatever it is given with cache, so memory that nobody else wants makes servers faster.
    """
    seats = dict(plan.seats)
    for server in sorted(growing & plan.seats.keys()):
        seat = plan.seats[server]
        shares = [_share(plan, device, growing, together) for device in devices if device.index in seat.devices]
        seats[server] = Seat(seat.devices, max(seat.fraction, min(USUAL_SHARE, seat.fraction + min(shares))))
    left = {d.index: _left(d, _loads(seats, d), together or len(seats) or 1) for d in devices}
    return Plan(seats, left)


def _share(plan: Plan, device: Device, growing: frozenset[str], together: int | None) -> float:
    """Return the fraction of a device by which each of its growing servers may grow."""
    loads = _loads(plan.seats, device)
    usable = max(0.0, plan.left_gib[device.index] - (1 - USUAL_SHARE) * device.total_gib)
    sharing = sum(device.index in plan.seats[name].devices for name in growing & plan.seats.keys())
    return usable / max(1, min(sharing, together or len(loads))) / device.total_gib


def _largest_first(need: Need) -> tuple[int, float, str]:
    """Sort servers that want whole GPUs or several before small ones."""
    each = need.each_gib(1)
    return (-(need.gpus or 1), -(each if each is not None else float("inf")), need.server)


def _try_next(search: _Search, position: int) -> None:
    search.steps += 1
    if position == len(search.needs):
        score = _score(search)
        if search.best is None or score < search.best_score:
            search.best, search.best_score = dict(search.seats), score
        return
    need = search.needs[position]
    for seat in _options(search, need):
        if search.best is not None and search.steps > MOST_STEPS:
            return
        if search.steps > 10 * MOST_STEPS:
            return
        _sit(search, seat)
        search.seats[need.server] = seat
        _try_next(search, position + 1)
        del search.seats[need.server]
        _rise(search, seat)


def _options(search: _Search, need: Need) -> Iterator[Seat]:
    """Yield seats that hold, the most promising first; of devices that are alike only one."""
    seen = set()
    for count in need.choices(len(search.devices)):
        seats = []
        for group in combinations(search.devices, count):
            alike = tuple(sorted((d.total_gib, d.free_gib, tuple(sorted(search.taken[d.index]))) for d in group))
            seat = _seat(need, group)
            if (count, alike) not in seen and _holds(search, seat):
                seen.add((count, alike))
                seats.append(seat)
        yield from sorted(seats, key=lambda seat: _crowding(search, seat))


def _seat(need: Need, group: Sequence[Device]) -> Seat:
    each = need.each_gib(len(group))
    fraction = USUAL_SHARE if each is None else max(each / device.total_gib for device in group)
    return Seat(tuple(device.index for device in group), fraction)


def _crowding(search: _Search, seat: Seat) -> tuple[float, ...]:
    """Sort empty devices first, then the tightest fit."""
    chosen = [device for device in search.devices if device.index in seat.devices]
    others = sum(len(search.taken[device.index]) for device in chosen)
    return (others, sum(_left(device, search.taken[device.index], search.together) for device in chosen))


def _holds(search: _Search, seat: Seat) -> bool:
    chosen = (device for device in search.devices if device.index in seat.devices)
    return all(
        _left(d, [*search.taken[d.index], seat.fraction * d.total_gib], search.together) >= -_SLACK for d in chosen
    )


def _score(search: _Search) -> tuple[float, ...]:
    """Return GPUs used in parallel, servers that share, and the largest hole, negated: the smallest is best."""
    gpus = sum(len(seat.devices) for seat in search.seats.values())
    sharing = sum(max(0, len(loads) - 1) for loads in search.taken.values())
    holes = sorted((_left(d, search.taken[d.index], search.together) for d in search.devices), reverse=True)
    return (gpus, sharing, *(-round(hole, 6) for hole in holes))


def _sit(search: _Search, seat: Seat) -> None:
    for device in search.devices:
        if device.index in seat.devices:
            search.taken[device.index].append(seat.fraction * device.total_gib)


def _rise(search: _Search, seat: Seat) -> None:
    for index in seat.devices:
        search.taken[index].pop()


def _loads(seats: Mapping[str, Seat], device: Device) -> list[float]:
    return [seat.fraction * device.total_gib for seat in seats.values() if device.index in seat.devices]


def _left(device: Device, loads: Sequence[float], together: int) -> float:
    """Return what is free when the largest `together` of a device's servers are awake."""
    return device.free_gib - sum(sorted(loads, reverse=True)[:together])


def _refusal(search: _Search) -> str:
    asked = ", ".join(_asked(need, len(search.devices)) for need in search.needs)
    room = ", ".join(
        f"{d.label}: {_left(d, search.taken[d.index], search.together):.1f} of {d.total_gib:.1f} GiB"
        for d in search.devices
    )
    awake = f" with {search.together} awake at once" if search.together < len(search.needs) + len(search.kept) else ""
    return (
        f"what is to be started does not fit{awake}. Asked: {asked}. Free: {room}. Set a smaller "
        "launch.gpu_memory_gib or --max-model-len, let servers take turns with residency.max_resident, or run some "
        "elsewhere under replicas"
    )


def _asked(need: Need, devices: int) -> str:
    wanted = [
        f"{f'{each:.1f} GiB' if (each := need.each_gib(count)) is not None else f'{USUAL_SHARE:.0%} of a GPU'}"
        + (f" on each of {count}" if count > 1 else "")
        for count in need.choices(devices)
    ]
    return f"'{need.server}' {' or '.join(wanted) or f'{need.gpus} GPUs'}"
